#include "core/redact.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::redact_test {

const std::string kToken = "tg1_" + std::string(180, 'A');
const std::string kGrant = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";

TEST(Redactor, never_lets_a_token_a_key_or_a_grant_pass) {
  for (const auto keep : {Redactor::Keep::nothing, Redactor::Keep::names_and_addresses}) {
    Redactor r(keep);
    EXPECT_EQ(r.apply("up --token " + kToken + " --json"), "up --token [secret] --json");
    EXPECT_EQ(r.apply("TG_TOKEN=" + kToken), "TG_TOKEN=[secret]");
    EXPECT_EQ(r.apply("grant " + kGrant + "\n"), "grant [secret]\n");
    EXPECT_EQ(r.apply("a\n-----BEGIN PRIVATE KEY-----\nMIGH\nAgEA\n-----END PRIVATE KEY-----\nb"), "a\n[secret]\nb");
    EXPECT_EQ(r.apply("cut: -----BEGIN CERTIFICATE-----\nMIIB"), "cut: [secret]");
    EXPECT_EQ(r.apply("SNI " + std::string(63, 'b') + ".tg"), "SNI [secret]");
    EXPECT_EQ(r.apply("thumb Zm9vYmFyYmF6-Zm9vYmFyYmF6_Zm9vYmFyYmF6Zm9vYmF6"), "thumb [secret]");
  }
}

TEST(Redactor, replaces_a_thing_by_the_same_word_each_time) {
  Redactor r;
  EXPECT_EQ(r.apply("10.0.0.1:53, 203.0.113.9 and 10.0.0.1/24"), "private-1:53, public-1 and private-1/24");
  EXPECT_EQ(r.apply("again 203.0.113.9, then [fd00::7]:443 and fe80::1%eth0."),
            "again public-1, then [private-2]:443 and private-3%eth0.");
  EXPECT_EQ(r.apply("alice@example.com at nas.home.int:22, NAS.Home.int"), "user-1 at name-1:22, name-1");
}

TEST(Redactor, leaves_what_says_nothing_about_anybody) {
  Redactor r;
  r.show(*Cidr::parse("100.96.0.0/12"));
  for (const char* text :
       {"127.0.0.1/8 and ::1", "0.0.0.0/0 dev tg0", "100.109.250.71 is lent", "/etc/resolv.conf", "6.1.0-25-amd64",
        "2026-11-22T20:45:45Z info stopping", "client.log: 0.4 ms, MTU 1500", "/var/lib/tg/client.example/x",
        "c146fbdaf2e0e4e6", "----------------------------------------------"}) {
    EXPECT_EQ(r.apply(text), text);
  }
}

TEST(Redactor, hides_the_names_that_it_is_told_where_they_stand_alone) {
  Redactor r;
  r.hide("home");
  r.hide("Bob's NAS");
  r.hide("Bob's");
  r.hide("ab");
  EXPECT_EQ(r.apply("Bob's NAS in home, home0, Home, (home), ab"), "name-1 in name-2, home0, Home, (name-2), ab");
  EXPECT_EQ(r.apply("Bob's"), "name-3");
}

TEST(Redactor, keeps_names_and_addresses_when_told_to) {
  Redactor r(Redactor::Keep::names_and_addresses);
  r.hide("home");
  const std::string text = "alice@example.com reaches nas.home.int at 192.168.1.50 in home";
  EXPECT_EQ(r.apply(text), text);
}

RC_GTEST_PROP(Redactor, takes_any_bytes_and_lets_no_address_pass,
              (const std::string& before, const std::string& after)) {
  Redactor r;
  const std::string out = r.apply(before + " 198.51.100.77 " + after);
  RC_ASSERT(out.find("198.51.100.77") == std::string::npos);
}

}  // namespace tg::redact_test
