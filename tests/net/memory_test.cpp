#include "net/memory.h"

#include <unistd.h>

#include <fstream>
#include <memory>
#include <memory_resource>
#include <string>
#include <vector>

#include <gtest/gtest.h>


namespace tg::memory_test {

// flags_at returns what the kernel says of the mapping that `at` is in: VmFlags of proc(5)'s smaps.
std::string flags_at(const void* at) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(at);
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%zx-%zx ", &begin, &end) == 2) here = begin <= wanted && wanted < end;
    else if (here && line.starts_with("VmFlags:")) return line + " ";
  }
  return "";
}

class HugePages : public testing::Test {
 protected:
  void SetUp() override { net::use_huge_pages(); }
  void TearDown() override { std::pmr::set_default_resource(nullptr); }
};

TEST_F(HugePages, are_asked_for_where_a_table_is_large) {
  if (::access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0) GTEST_SKIP() << "this kernel has none";
  std::pmr::vector<char> large(9 << 20, 'x'), small(1 << 20, 'x');
  EXPECT_NE(flags_at(large.data()).find(" hg "), std::string::npos) << flags_at(large.data());
  EXPECT_NE(flags_at(large.data() + (8 << 20) - 1).find(" hg "), std::string::npos) << "each of them, whole";
  EXPECT_EQ(flags_at(large.data() + (9 << 20) - 1).find(" hg "), std::string::npos) << "what is behind is another's";
  EXPECT_EQ(flags_at(small.data()).find(" hg "), std::string::npos);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.data()) % (2 << 20), 0u);
}

TEST_F(HugePages, keep_what_is_written) {
  std::pmr::vector<std::uint64_t> table;
  for (std::uint64_t i = 0; i < 3'000'000; ++i) table.push_back(i);   // grows through both kinds, and gives them back
  for (std::uint64_t i = 0; i < table.size(); ++i) ASSERT_EQ(table[i], i);
}

TEST_F(HugePages, heed_an_alignment_larger_than_theirs) {
  std::pmr::memory_resource& memory = *std::pmr::get_default_resource();
  void* const at = memory.allocate(8 << 20, 4 << 20);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % (4 << 20), 0u);
  memory.deallocate(at, 8 << 20, 4 << 20);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)   // whose allocators keep what is freed, to look at it
// resident returns the bytes of this process that are in memory: the second number of proc(5)'s statm, in pages.
std::size_t resident() {
  std::ifstream statm("/proc/self/statm");
  std::size_t size = 0, pages = 0;
  statm >> size >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(Memory, that_was_freed_below_what_is_in_use_is_given_back) {
  std::vector<std::unique_ptr<std::string>> all;
  for (int i = 0; i < 100'000; ++i) all.push_back(std::make_unique<std::string>(1000, 'x'));
  const auto last = std::make_unique<std::string>(1000, 'x');   // stands above them
  all.clear();
  const std::size_t before = resident();
  net::give_back_memory();
  EXPECT_LT(resident() + (80 << 20), before) << "100 MB were freed";
}
#endif

}  // namespace tg::memory_test
