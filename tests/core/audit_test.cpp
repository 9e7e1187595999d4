#include "core/audit.h"

#include <gtest/gtest.h>

#include "core/encoding.h"
#include "core/grant.h"
#include "core/json.h"

namespace tg::audit_test {

const Buffer kSeed(32, 7);
constexpr std::string_view kInstance = "tg-12345678";

struct Kept {
  std::vector<std::string> texts;
  std::vector<Buffer> hashes;
  AuditHead head;
  Buffer signature;
};

Kept chain(int entries) {
  Kept out;
  for (int i = 1; i <= entries; ++i) {
    AuditEntry e{static_cast<std::uint64_t>(i), UnixTime(std::chrono::seconds(1000 + i)), "root", "socket", "create",
                 "resource", "NAS", "null", R"({"address":"nas.home.int"})"};
    out.texts.push_back(audit_text(e));
    out.head = audit_next(out.head, out.texts.back());
    out.hashes.push_back(out.head.hash);
  }
  out.signature = sign_head(out.head, kInstance, kSeed);
  return out;
}

Result<> check(const Kept& k) {
  AuditCheck c;
  for (std::size_t i = 0; i < k.texts.size(); ++i) {
    const auto entry = parse_json(k.texts[i]);
    const auto number = entry && entry->is_object() ? number_or(*entry, "number", 0) : 0;
    if (auto good = c.add(static_cast<std::uint64_t>(number), k.texts[i], k.hashes[i]); !good) return good;
  }
  return c.end(k.head, kInstance, k.signature, ed25519_public_key(kSeed));
}

std::string why(const Kept& k) {
  const auto checked = check(k);
  return checked ? "" : checked.error().text;
}

TEST(Audit, keeps_an_entry_as_one_line_of_json) {
  EXPECT_EQ(chain(1).texts[0],
            R"({"action":"create","after":{"address":"nas.home.int"},"before":null,"from":"socket","kind":"resource",)"
            R"("name":"NAS","number":1,"time":1001,"who":"root"})");
}

TEST(Audit, hashes_the_entry_behind_the_hash_before) {
  const Kept k = chain(2);
  Buffer first(32, 0);
  first.insert(first.end(), k.texts[0].begin(), k.texts[0].end());
  EXPECT_EQ(hex(k.hashes[0]), hex(sha256(first)));
  Buffer second = k.hashes[0];
  second.insert(second.end(), k.texts[1].begin(), k.texts[1].end());
  EXPECT_EQ(hex(k.hashes[1]), hex(sha256(second)));
}

TEST(Audit, of_nothing_is_whole_when_that_is_signed) {
  EXPECT_EQ(why(chain(0)), "");
  EXPECT_EQ(why({}), "the end of the audit log is not signed by this controller") << "somebody emptied it";
}

// Row 24 of the threats: an administrator edits the log.
TEST(Audit, shows_every_byte_that_was_flipped) {
  const Kept whole = chain(5);
  ASSERT_EQ(why(whole), "");
  for (std::size_t i = 0; i < whole.texts.size(); ++i) {
    for (std::size_t at = 0; at < whole.texts[i].size(); ++at) {
      Kept k = whole;
      k.texts[i][at] = static_cast<char>(k.texts[i][at] ^ 1);
      EXPECT_NE(why(k), "") << "entry " << i + 1 << ", byte " << at;
    }
    for (std::size_t at = 0; at < 32; ++at) {
      Kept k = whole;
      k.hashes[i][at] ^= 0x80;
      EXPECT_NE(why(k), "") << "hash " << i + 1 << ", byte " << at;
    }
  }
  for (std::size_t at = 0; at < whole.signature.size(); ++at) {
    Kept k = whole;
    k.signature[at] ^= 1;
    EXPECT_EQ(why(k), "the end of the audit log is not signed by this controller") << at;
  }
  for (std::size_t at = 0; at < 32; ++at) {
    Kept k = whole;
    k.head.hash[at] ^= 1;
    EXPECT_NE(why(k), "") << at;
  }
}

TEST(Audit, shows_what_was_taken_out_swapped_or_put_in) {
  const Kept whole = chain(5);
  for (std::size_t i = 0; i < 5; ++i) {
    Kept k = whole;
    k.texts.erase(k.texts.begin() + static_cast<std::ptrdiff_t>(i));
    k.hashes.erase(k.hashes.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_NE(why(k), "") << i;
  }
  Kept swapped = whole;
  std::swap(swapped.texts[1], swapped.texts[2]);
  std::swap(swapped.hashes[1], swapped.hashes[2]);
  EXPECT_EQ(why(swapped), "entry 3 of the audit log comes where 2 should: entries were taken out or put in");
  Kept end = whole;
  end.texts.pop_back();
  end.hashes.pop_back();
  EXPECT_EQ(why(end), "the audit log ends at entry 4 and should end at entry 5: entries were taken from its end, or put there");
}

TEST(Audit, shows_a_log_that_was_written_anew_without_the_key) {
  Kept forged = chain(5);
  forged.texts[4] = audit_text({5, UnixTime(std::chrono::seconds(1005)), "root", "socket", "create", "resource", "Printer",
                                "null", "null"});
  AuditHead before{4, forged.hashes[3]};
  forged.head = audit_next(before, forged.texts[4]);
  forged.hashes[4] = forged.head.hash;
  EXPECT_EQ(why(forged), "the end of the audit log is not signed by this controller");
  forged.signature = sign_head(forged.head, kInstance, Buffer(32, 8));
  EXPECT_EQ(why(forged), "the end of the audit log is not signed by this controller") << "by another one";
  forged.signature = sign_head(forged.head, "tg-87654321", kSeed);
  EXPECT_EQ(why(forged), "the end of the audit log is not signed by this controller") << "of another one";
}

}  // namespace tg::audit_test
