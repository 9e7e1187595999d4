#include "core/text_index.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <string>

#include "core/flat_index.h"

namespace tg::text_index_test {

std::optional<std::uint32_t> value_of(const TextIndex& index, std::string_view text) {
  const auto found = index.find(hash_bytes(text), text);
  return found ? std::optional(found->value) : std::nullopt;
}

TEST(TextIndex, is_empty_at_first) {
  EXPECT_TRUE(TextIndex().empty());
  EXPECT_EQ(value_of(TextIndex(), "nas"), std::nullopt);
  EXPECT_TRUE(TextIndex(std::span<const TextIndex::Entry>()).empty());
  TextIndex().fetch(1);
}

TEST(TextIndex, takes_the_first_of_one_text) {
  const std::vector<TextIndex::Entry> entries = {{hash_bytes("nas"), "nas", 1}, {hash_bytes("web"), "web", 2},
                                                 {hash_bytes("nas"), "nas", 3}};
  const TextIndex index(entries);
  EXPECT_EQ(value_of(index, "nas"), 1u);
  EXPECT_EQ(value_of(index, "web"), 2u);
  EXPECT_EQ(value_of(index, ""), std::nullopt);
}

// The hashes are the same for all, or for many: places run over, and tags say nothing.
RC_GTEST_PROP(TextIndex, behaves_as_a_map_of_every_size, ()) {
  const auto hashes = *rc::gen::element<std::uint64_t>(0, 1, 3, ~std::uint64_t{0});
  const auto hash_of = [&](std::string_view text) { return hash_bytes(text) & hashes; };
  std::map<std::string, std::pair<std::uint32_t, Buffer>> model;
  const int count = *rc::gen::inRange(0, 300);
  for (int i = 0; i < count; ++i) {
    const auto size = static_cast<std::size_t>(*rc::gen::weightedOneOf<int>(
        {{4, rc::gen::inRange(0, 8)}, {4, rc::gen::inRange(0, 40)}, {2, rc::gen::inRange(90, 130)}, {1, rc::gen::inRange(200, 256)}}));
    std::string text = std::to_string(i) + std::string(256, static_cast<char>('a' + i % 3));
    text.resize(std::max(size, std::to_string(i).size()));
    const auto more = static_cast<std::size_t>(*rc::gen::element(0, 0, 0, 8, 60, 112, 113, 5000));
    model[text] = {static_cast<std::uint32_t>(i), Buffer(more, static_cast<std::uint8_t>(i))};
  }
  std::vector<TextIndex::Entry> entries;
  for (const auto& [text, found] : model) entries.push_back({hash_of(text), text, found.first, found.second});
  const TextIndex index(entries);
  for (const auto& [text, wanted] : model) {
    index.fetch(hash_of(text));
    const auto found = index.find(hash_of(text), text);
    RC_ASSERT(found.has_value());
    RC_ASSERT(found->value == wanted.first);
    RC_ASSERT(Buffer(found->more.begin(), found->more.end()) == wanted.second);
    RC_ASSERT(model.contains(text + "x") || !index.find(hash_of(text + "x"), text + "x"));
  }
}

// Small ones are everywhere when the large ones come: they must have found their places before.
TEST(TextIndex, has_room_for_large_ones_among_small_ones) {
  std::vector<std::string> texts;
  for (int i = 0; i < 6000; ++i) texts.push_back(std::to_string(i));
  for (int i = 0; i < 1000; ++i) texts.push_back(std::string(100, 'x') + std::to_string(i));
  std::vector<TextIndex::Entry> entries;
  for (const std::string& text : texts) entries.push_back({hash_bytes(text), text, static_cast<std::uint32_t>(entries.size())});
  const TextIndex index(entries);
  for (std::uint32_t i = 0; i < texts.size(); ++i) ASSERT_EQ(value_of(index, texts[i]), i);
}

}  // namespace tg::text_index_test
