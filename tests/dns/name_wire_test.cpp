// Names on the wire: RFC 1035 section 4.1.4 by its own figure, and RFC 9267 clause by clause. Every input lies in a
// heap buffer of exactly its size.
#include <gtest/gtest.h>

#include <string>

#include "dns/name.h"
#include "dns/name_writer.h"
#include "tests/support/dns_wire.h"

namespace tg::dns::name_wire_test {

using test::ExactBytes;

constexpr std::string_view kHeader = "0000 0000 0000 0000 0000 0000 |";   // pointers count from it

struct Read {
  Result<Name> name;
  std::size_t end;
};
Read read(const ExactBytes& bytes, std::size_t at, Name::Pointers pointers = Name::Pointers::followed) {
  Reader in(bytes);
  in.skip(at);
  auto name = Name::read(in, pointers);
  return {std::move(name), in.offset()};
}
Read read_after_header(std::string_view picture, std::size_t at = 12) {
  return read(ExactBytes(std::string(kHeader) + std::string(picture)), at);
}
void expect_malformed(std::string_view picture, std::size_t at = 12) {
  const auto r = read_after_header(picture, at);
  ASSERT_FALSE(r.name.has_value()) << picture;
  EXPECT_EQ(r.name.error().code, Errc::malformed) << picture;
  EXPECT_EQ(r.end, at) << "the reader moved: " << picture;
}

// The figure at the end of RFC 1035 section 4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40, ARPA at 64, the root at 92.
TEST(NameWire, reads_the_figure_of_rfc_1035) {
  std::vector<std::uint8_t> message(93, 0xEE);
  const auto put = [&](std::size_t at, std::string_view picture) {
    const auto bytes = test::wire(picture);
    std::copy(bytes.begin(), bytes.end(), message.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(20, "01 'F' 03 'ISI' 04 'ARPA' 00");
  put(40, "03 'FOO' C0 14");
  put(64, "C0 1A");
  put(92, "00");
  const ExactBytes exact{std::span<const std::uint8_t>(message)};
  EXPECT_EQ(read(exact, 20).name->to_string(), "f.isi.arpa");
  EXPECT_EQ(read(exact, 20).end, 32u);
  EXPECT_EQ(read(exact, 40).name->to_string(), "foo.f.isi.arpa");
  EXPECT_EQ(read(exact, 40).end, 46u);
  EXPECT_EQ(read(exact, 64).name->to_string(), "arpa");
  EXPECT_EQ(read(exact, 64).end, 66u);
  EXPECT_TRUE(read(exact, 92).name->is_root());
  EXPECT_EQ(read(exact, 92).end, 93u);
}

// RFC 9267 section 2, compression pointers.
TEST(NameWire, refuses_a_pointer_to_itself) { expect_malformed("C0 0C"); }
TEST(NameWire, refuses_a_pointer_into_its_own_labels) {
  expect_malformed("03 'abc' C0 0C");
  expect_malformed("03 'abc' C0 0D");
  expect_malformed("01 00 C0 0D");   // the label's byte would pass for the root
}
TEST(NameWire, refuses_a_pointer_forwards) { expect_malformed("C0 0E 01 'a' 00"); }
TEST(NameWire, refuses_a_pointer_behind_the_end) {
  expect_malformed("C0 FF");
  expect_malformed("FF FF");
}
TEST(NameWire, refuses_two_pointers_that_lead_to_each_other) {
  expect_malformed("C0 0E C0 0C", 12);
  expect_malformed("C0 0E C0 0C", 14);
}
TEST(NameWire, refuses_a_loop_over_labels) { expect_malformed("01 'a' C0 10 | 01 'b' C0 0C", 16); }
TEST(NameWire, refuses_a_pointer_into_the_header) {
  expect_malformed("C0 00");
  expect_malformed("C0 0B");
  expect_malformed("01 'a' C0 02");
}
TEST(NameWire, refuses_half_a_pointer) {
  expect_malformed("C0");
  expect_malformed("01 'a' C0");
}
TEST(NameWire, refuses_a_pointer_to_a_pointer_that_leads_forwards_again) {
  expect_malformed("C0 10 | 01 'a' | C0 0C", 16);
}

TEST(NameWire, follows_127_pointers_and_not_128) {
  for (const int jumps : {127, 128}) {
    std::string picture = "00";   // at 12
    for (int i = 0; i < jumps; ++i) {
      static constexpr char kHex[] = "0123456789ABCDEF";
      const int target = i == 0 ? 12 : 13 + 2 * (i - 1);
      picture += std::string(" C") + kHex[target >> 8] + kHex[target >> 4 & 15] + kHex[target & 15];
    }
    const auto r = read_after_header(picture, static_cast<std::size_t>(13 + 2 * (jumps - 1)));
    EXPECT_EQ(r.name.has_value(), jumps == 127) << jumps;
  }
}

TEST(NameWire, refuses_pointers_where_none_may_be) {
  const ExactBytes bytes(std::string(kHeader) + "01 'a' 00 | 01 'b' C0 0C");
  EXPECT_TRUE(read(bytes, 15).name.has_value());
  EXPECT_FALSE(read(bytes, 15, Name::Pointers::refused).name.has_value());
  EXPECT_TRUE(read(bytes, 12, Name::Pointers::refused).name.has_value());
}

// RFC 9267 section 3, lengths of labels and names.
TEST(NameWire, refuses_the_label_types_01_and_10) {   // RFC 6891 section 5 took 01 back
  expect_malformed("40 00");
  expect_malformed("41 'a' 00");
  expect_malformed("80 00");
  expect_malformed("BF 00");
}
TEST(NameWire, refuses_a_label_that_is_longer_than_the_message) {
  expect_malformed("04 'abc'");
  expect_malformed("03 'abc'");        // and no root behind it
  expect_malformed("3F 'abc' 00");
  expect_malformed("01 'a' 02 'b'");
}
TEST(NameWire, refuses_a_name_without_any_byte) { expect_malformed(""); }

std::string labels(int count, int length, std::string_view end) {
  std::string out(kHeader);
  for (int i = 0; i < count; ++i) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    out += std::string(" ") + kHex[length >> 4] + kHex[length & 15] + " '" +
        std::string(static_cast<std::size_t>(length), 'x') + "'";
  }
  return out + " " + std::string(end);
}
TEST(NameWire, takes_255_bytes_and_refuses_256) {
  EXPECT_EQ(read(ExactBytes(labels(3, 63, "3D 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy' 00")),
      12).name->size(), 255u);
  EXPECT_FALSE(read(ExactBytes(labels(4, 63, "00")), 12).name.has_value());
  EXPECT_EQ(read(ExactBytes(labels(127, 1, "00")), 12).name->size(), 255u);
  EXPECT_FALSE(read(ExactBytes(labels(128, 1, "00")), 12).name.has_value());
}
TEST(NameWire, counts_the_bytes_behind_pointers_too) {   // a short name that unpacks to more than 255 bytes
  const ExactBytes bytes(labels(3, 63,
      "00 | 3F 'zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz' C0 0C"));
  EXPECT_FALSE(read(bytes, 12 + 3 * 64 + 1).name.has_value());
}

// RFC 9267 section 4, the end of names.
TEST(NameWire, a_nul_inside_a_label_does_not_end_the_name) {
  const auto r = read_after_header("03 'a' 00 'b' 01 'c' 00");
  ASSERT_TRUE(r.name.has_value());
  EXPECT_EQ(r.name->to_string(), "a\\000b.c");
  EXPECT_EQ(r.end, 12u + 7u);
}
TEST(NameWire, the_reader_stands_behind_the_first_pointer_of_a_name) {
  const auto r = read_after_header("01 'a' 00 | C0 0C | 01 'b' C0 0F EE", 17);
  ASSERT_TRUE(r.name.has_value());
  EXPECT_EQ(r.name->to_string(), "b.a");
  EXPECT_EQ(r.end, 21u);
}

TEST(NameWriter, writes_the_figure_of_rfc_1035_again) {
  Buffer out(20, 0);
  NameWriter names(out);
  names.write(*Name::parse("F.ISI.ARPA"), true);
  out.resize(40);
  names.write(*Name::parse("FOO.F.ISI.ARPA"), true);
  out.resize(64);
  names.write(*Name::parse("ARPA"), true);
  names.write(Name{}, true);
  EXPECT_EQ(Buffer(out.begin() + 40, out.begin() + 46), test::wire("03 'FOO' C0 14"));
  EXPECT_EQ(Buffer(out.begin() + 64, out.end()), test::wire("C0 1A 00"));
}
TEST(NameWriter, keeps_every_letters_case) {
  Buffer out(12, 0);
  NameWriter names(out);
  names.write(*Name::parse("home.int"), true);
  names.write(*Name::parse("Home.int"), true);
  EXPECT_EQ(Buffer(out.begin() + 22, out.end()), test::wire("04 'Home' C0 11"));
}
TEST(NameWriter, writes_names_out_where_pointers_are_not_allowed) {
  Buffer out(12, 0);
  NameWriter names(out);
  names.write(*Name::parse("a.int"), true);
  names.write(*Name::parse("a.int"), false);
  EXPECT_EQ(out.size(), 12u + 7 + 7);
}
TEST(NameWriter, never_points_beyond_what_14_bits_can_say) {
  Buffer out(0x4000, 0);
  NameWriter names(out);
  names.write(*Name::parse("a.int"), true);
  names.write(*Name::parse("a.int"), true);
  EXPECT_EQ(out.size(), 0x4000u + 14);
}

}  // namespace tg::dns::name_wire_test
