#include "core/rights.h"

#include <gtest/gtest.h>

namespace tg::rights_test {

Scopes scopes(const std::vector<std::string>& words) { return Scopes::parse(words).value(); }

TEST(Rights, roles_have_names_and_an_order) {
  for (const Role role : {Role::member, Role::auditor, Role::admin, Role::owner}) EXPECT_EQ(role_named(to_string(role)), role);
  EXPECT_EQ(role_named("root"), std::nullopt);
  EXPECT_EQ(role_named(""), std::nullopt);
  EXPECT_LT(Role::member, Role::auditor);
  EXPECT_LT(Role::admin, Role::owner);
}

TEST(Rights, to_write_is_to_read) {
  const Scopes s = scopes({"users:write", "groups:read"});
  EXPECT_TRUE(s.cover("users", Deed::read));
  EXPECT_TRUE(s.cover("users", Deed::write));
  EXPECT_TRUE(s.cover("groups", Deed::read));
  EXPECT_FALSE(s.cover("groups", Deed::write));
  EXPECT_FALSE(s.cover("resources", Deed::read));
}

TEST(Rights, a_star_is_every_area) {
  EXPECT_TRUE(Scopes::everything().cover("state", Deed::write));
  EXPECT_TRUE(scopes({"*:read"}).cover("audit", Deed::read));
  EXPECT_FALSE(scopes({"*:read"}).cover("audit", Deed::write));
}

TEST(Rights, scopes_are_kept_sorted_and_without_what_others_include) {
  EXPECT_EQ(scopes({"users:read", "users:write", "groups:read", "groups:read"}).words(), (std::vector<std::string>{"groups:read", "users:write"}));
  EXPECT_EQ(scopes({"users:read", "*:read", "groups:write"}).words(), (std::vector<std::string>{"*:read", "groups:write"}));
  EXPECT_EQ(scopes({"*:write", "*:read"}), Scopes::everything());
}

TEST(Rights, scopes_within_scopes) {
  EXPECT_TRUE(Scopes::everything().cover(scopes({"users:write", "*:read"})));
  EXPECT_TRUE(scopes({"users:write"}).cover(scopes({"users:read"})));
  EXPECT_FALSE(scopes({"users:read"}).cover(scopes({"users:write"})));
  EXPECT_FALSE(scopes({"users:write"}).cover(scopes({"*:read"})));
  EXPECT_TRUE(scopes({"users:read"}).cover(Scopes()));
}

TEST(Rights, what_is_no_scope_is_said) {
  for (const char* word : {"users", "users:", ":read", "user:read", "users:delete", "users:read ", "*", "a:b:read", ""}) {
    const auto read = Scopes::parse({"users:read", word});
    ASSERT_FALSE(read) << word;
    EXPECT_EQ(read.error().code, Errc::invalid_argument);
    EXPECT_NE(read.error().text.find("is no scope"), std::string::npos) << read.error().text;
  }
  EXPECT_FALSE(Scopes::parse({}));
}

}  // namespace tg::rights_test
