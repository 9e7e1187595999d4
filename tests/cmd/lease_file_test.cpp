#include "cmd/client/lease_file.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "net/files.h"
#include "net/loop.h"
#include "tests/support/folder.h"

namespace tg::client::lease_file_test {

const Cidr kSmall = Cidr::parse("10.0.0.0/29").value();   // six addresses
const Instant kStart = net::Loop::now();

struct ALeaseFile : testing::Test {
  test::Folder folder;
  std::string whole() { return net::read_file(folder / "addresses").value_or(""); }
  std::string fresh() { return net::read_file(folder / "addresses.lent").value_or(""); }
};

// A pool that ends without save(), as with kill -9.
TEST_F(ALeaseFile, remembers_what_was_lent_just_before_a_kill) {
  std::vector<Ipv4> lent;
  {
    AddressPool pool(kSmall);
    LeaseFile file(folder.path(), pool);
    for (int i = 0; i < 6; ++i) {
      const std::string name = "n" + std::to_string(i);
      lent.push_back(pool.acquire(name, kStart).value());
      EXPECT_TRUE(fresh().ends_with(AddressPool::line(lent.back(), name))) << "before it is answered";
    }
    EXPECT_EQ(whole(), "");
  }
  AddressPool pool(kSmall);
  LeaseFile file(folder.path(), pool);
  EXPECT_FALSE(pool.acquire("other", kStart)) << "somebody may hold each of them";
  for (std::size_t i = 6; i-- > 0;) EXPECT_EQ(pool.acquire("n" + std::to_string(i), kStart).value(), lent[i]);
}

TEST_F(ALeaseFile, holds_the_whole_after_save_and_lines_only_since) {
  AddressPool pool(kSmall);
  LeaseFile file(folder.path(), pool);
  ASSERT_TRUE(pool.acquire("a", kStart));
  file.save();
  EXPECT_EQ(whole(), pool.save());
  EXPECT_EQ(fresh(), "");
  const Ipv4 b = pool.acquire("b", kStart).value();
  EXPECT_EQ(fresh(), AddressPool::line(b, "b"));
  AddressPool back(kSmall);
  LeaseFile again(folder.path(), back);
  EXPECT_EQ(back.size(), 2u);
  EXPECT_EQ(fresh(), "") << "a start writes the whole";
  EXPECT_EQ(whole(), back.save());
}

TEST_F(ALeaseFile, of_two_lines_believes_the_later) {
  { std::ofstream(folder / "addresses") << "# tg addresses 1\n10.0.0.1 a\n10.0.0.2 b\n"; }
  { std::ofstream(folder / "addresses.lent") << "10.0.0.1 c\n10.0.0.3 d\n10.0.0.3 e\n10.0.0.4 to"; }
  AddressPool pool(kSmall);
  LeaseFile file(folder.path(), pool);
  EXPECT_EQ(pool.size(), 3u);
  EXPECT_EQ(pool.name_of(Ipv4{0x0A000001}), "c");
  EXPECT_EQ(pool.name_of(Ipv4{0x0A000002}), "b");
  EXPECT_EQ(pool.name_of(Ipv4{0x0A000003}), "e");
}

TEST_F(ALeaseFile, lends_also_where_nothing_can_be_written) {
  AddressPool pool(kSmall);
  LeaseFile file(folder / "missing", pool);
  EXPECT_TRUE(pool.acquire("a", kStart));
  EXPECT_TRUE(pool.acquire("b", kStart));
  file.save();
}

}  // namespace tg::client::lease_file_test
