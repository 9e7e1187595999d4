#include "core/glob.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::glob_test {

// The definition, word by word.
bool slow_match(std::string_view p, std::string_view n) {
  if (p.empty()) return n.empty();
  if (p[0] == '*') return slow_match(p.substr(1), n) || (!n.empty() && slow_match(p, n.substr(1)));
  return !n.empty() && (p[0] == '?' || p[0] == n[0]) && slow_match(p.substr(1), n.substr(1));
}

bool is_name(std::string_view n) {
  return !n.empty() && n.front() != '.' && n.back() != '.' && n.find("..") == std::string_view::npos;
}

rc::Gen<std::string> some(const std::string& alphabet, int max) {
  return rc::gen::mapcat(rc::gen::inRange(0, max + 1), [=](int n) {
    return rc::gen::container<std::string>(static_cast<std::size_t>(n), rc::gen::elementOf(alphabet));
  });
}

TEST(Glob, star_is_any_run_and_question_mark_one_character) {
  EXPECT_TRUE(glob_matches("*.a.internal", "x.a.internal"));
  EXPECT_TRUE(glob_matches("*.a.internal", "x.y.a.internal"));
  EXPECT_FALSE(glob_matches("*.a.internal", "a.internal"));
  EXPECT_TRUE(glob_matches("db?.home", "db1.home"));
  EXPECT_FALSE(glob_matches("db?.home", "db.home"));
  EXPECT_FALSE(glob_matches("db?.home", "db12.home"));
  EXPECT_TRUE(glob_matches("db*.home", "db.home"));
  EXPECT_TRUE(glob_matches("a*b*c", "axxbxxbc"));
  EXPECT_FALSE(glob_matches("a*b*c", "axxcxxb"));
  EXPECT_TRUE(glob_matches("*", ""));
  EXPECT_FALSE(glob_matches("", "a"));
  EXPECT_EQ(glob_literals("a?.b*"), 3);
}

TEST(Glob, takes_no_exponential_time) {
  std::string evil;
  for (int i = 0; i < 60; ++i) evil += "*a";
  EXPECT_FALSE(glob_matches(evil + "b", std::string(250, 'a')));
  EXPECT_TRUE(glob_matches(evil, std::string(250, 'a')));
}

RC_GTEST_PROP(Glob, matches_as_defined, ()) {
  for (int i = 0; i < 500; ++i) {
    const auto p = *some("ab.*?", 7), n = *some("ab.", 8);
    RC_ASSERT(glob_matches(p, n) == slow_match(p, n));
    RC_ASSERT(glob_matches(normal_glob(p), n) == glob_matches(p, n));
    RC_ASSERT(normal_glob(normal_glob(p)) == normal_glob(p));
  }
}

TEST(Glob, normal_form_has_the_question_marks_first) {
  EXPECT_EQ(normal_glob("*?*.a"), "?*.a");
  EXPECT_EQ(normal_glob("**a***"), "*a*");
  EXPECT_EQ(normal_glob("?*??b"), "???*b");
}

// Every name up to 7 characters over {a, b, .}; the patterns have at most 3 characters each, and then a shared name has
// at most 6, or 7 when a label has to be begun to keep dots apart.
RC_GTEST_PROP(Glob, overlaps_when_some_name_fits_both, ()) {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all{""}, out;
    for (std::size_t from = 0, length = 1; length <= 7; ++length) {
      const std::size_t to = all.size();
      for (; from < to; ++from) {
        for (const char c : {'a', 'b', '.'}) all.push_back(all[from] + c);
      }
    }
    for (const auto& n : all) if (is_name(n)) out.push_back(n);
    return out;
  }();
  for (int i = 0; i < 30; ++i) {
    const auto a = *some("ab.*?", 3), b = *some("ab.*?", 3);
    const bool shared = std::any_of(names.begin(), names.end(),
                                    [&](const std::string& n) { return glob_matches(a, n) && glob_matches(b, n); });
    RC_ASSERT(globs_overlap(a, b) == shared);
    RC_ASSERT(globs_overlap(b, a) == shared);
  }
}

TEST(Glob, overlap_keeps_the_limits_of_names) {
  const std::string a60(60, 'a'), b60(60, 'b'), a64(64, 'a');
  EXPECT_TRUE(globs_overlap(a60 + "*", "*" + b60));              // aaa….bbb…
  EXPECT_FALSE(globs_overlap(a60 + "?", "*" + b60));             // no room for a dot
  EXPECT_FALSE(globs_overlap(a64 + "*", a64 + "*"));             // no label is that long
  EXPECT_FALSE(globs_overlap("*..a", "b*"));                     // an empty label
  EXPECT_FALSE(globs_overlap(".*", "*a"));
  std::string long_a, long_b;
  for (int i = 0; i < 3; ++i) long_a += a60 + ".", long_b += "." + b60;
  EXPECT_FALSE(globs_overlap(long_a + "*", "*" + long_b));       // more than 253 together
  EXPECT_TRUE(globs_overlap(long_a + "*", "*." + b60));
}

TEST(Glob, overlap_of_what_people_write) {
  EXPECT_TRUE(globs_overlap("*.corp.internal", "db*.internal"));
  EXPECT_TRUE(globs_overlap("*.corp.internal", "*.db.corp.internal"));
  EXPECT_FALSE(globs_overlap("*.corp.internal", "*.home.internal"));
  EXPECT_FALSE(globs_overlap("web*.corp", "db*.corp"));
  EXPECT_TRUE(globs_overlap("a*", "*a"));
}

}  // namespace tg::glob_test
