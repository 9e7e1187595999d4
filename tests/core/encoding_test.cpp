#include "core/encoding.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::encoding_test {

Buffer bytes_of(std::string_view s) { return {s.begin(), s.end()}; }

TEST(Encoding, agrees_with_the_vectors_of_rfc_4648_section_10) {
  const struct { const char *plain, *base64, *base32, *base16; } rows[] = {
      {"", "", "", ""},
      {"f", "Zg", "my", "66"},
      {"fo", "Zm8", "mzxq", "666f"},
      {"foo", "Zm9v", "mzxw6", "666f6f"},
      {"foob", "Zm9vYg", "mzxw6yq", "666f6f62"},
      {"fooba", "Zm9vYmE", "mzxw6ytb", "666f6f6261"},
      {"foobar", "Zm9vYmFy", "mzxw6ytboi", "666f6f626172"},
  };
  for (const auto& row : rows) {
    const Buffer plain = bytes_of(row.plain);
    EXPECT_EQ(base64url(plain), row.base64);
    EXPECT_EQ(base32(plain), row.base32);
    EXPECT_EQ(hex(plain), row.base16);
    EXPECT_EQ(unbase64url(row.base64).value(), plain);
    EXPECT_EQ(unbase32(row.base32).value(), plain);
    EXPECT_EQ(unhex(row.base16).value(), plain);
  }
  EXPECT_EQ(base64url(Buffer{0xfb, 0xff}), "-_8");
  EXPECT_EQ(unbase32("MZXW6YTBOI").value(), bytes_of("foobar"));
  EXPECT_EQ(unhex("aBcD").value(), (Buffer{0xab, 0xcd}));
}

TEST(Encoding, refuses_padding_white_space_and_left_over_bits) {
  for (const char* bad : {"Zg==", "Zg=", "Z g", " Zg", "Zh", "Z", "Zm9vY", "Zm9+", "Zm9/", "Zm\n8", "Zm9é"})
    EXPECT_FALSE(unbase64url(bad)) << bad;
  for (const char* bad : {"my======", "mz", "m", "mzx", "mzxw6y", "m0", "m1", "m8", "m y"})
    EXPECT_FALSE(unbase32(bad)) << bad;
  for (const char* bad : {"a", "abc", "0x12", "gg", "a "}) EXPECT_FALSE(unhex(bad)) << bad;
}

RC_GTEST_PROP(Encoding, gives_back_any_bytes, (const Buffer& b)) {
  RC_ASSERT(unhex(hex(b)).value() == b);
  RC_ASSERT(unbase64url(base64url(b)).value() == b);
  RC_ASSERT(unbase32(base32(b)).value() == b);
}

RC_GTEST_PROP(Encoding, has_one_text_for_each_value, ()) {
  const auto text = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("abcdwxyz2367ABYZ-_0")));
  if (const auto b = unbase64url(text)) RC_ASSERT(base64url(*b) == text);
  if (const auto b = unbase32(text)) {
    std::string low = text;
    for (char& c : low) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    RC_ASSERT(base32(*b) == low);
  }
}

TEST(Encoding, hashes_the_vectors_of_fips_180) {
  EXPECT_EQ(hex(sha256(as_bytes("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Encoding, compares_secrets_of_any_length) {
  EXPECT_TRUE(same_secret({}, {}));
  EXPECT_TRUE(same_secret(as_bytes("abc"), as_bytes("abc")));
  EXPECT_FALSE(same_secret(as_bytes("abc"), as_bytes("abd")));
  EXPECT_FALSE(same_secret(as_bytes("abc"), as_bytes("ab")));
}

}  // namespace tg::encoding_test
