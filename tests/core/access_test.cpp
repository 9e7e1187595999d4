#include "core/access.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/moment.h"
#include "core/text.h"

namespace tg::access_test {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

UnixTime at(const char* text) { return parse_utc(text).value(); }

// Berlin's rule of 2026 (the last Sundays of March and October, at 01:00 UTC), written down without a database.
std::optional<seconds> offset(const std::string& zone, UnixTime t) {
  if (zone == "UTC") return seconds(0);
  if (zone != "Europe/Berlin") return std::nullopt;
  return t >= at("2026-03-29T01:00Z") && t < at("2026-10-25T01:00Z") ? hours(2) : hours(1);
}

Access judge(const PolicySpec& p, const Standing& s, UnixTime now, std::optional<Approval> approved = {}) {
  return Judge(now, offset)(p, s, approved);
}

PolicySpec office(const char* zone = "UTC") {
  PolicySpec p{.name = "office"};
  p.days = parse_days({"mon-fri"}).value();
  p.hours = parse_hours("08:00-18:00").value();
  p.time_zone = zone;
  return p;
}

const UnixTime kNoon = at("2026-11-26T12:00Z");   // a Thursday

Approval until(UnixTime t) { return {kNoon, t}; }

Standing signed_in(UnixTime when, UnixTime ends, bool mfa = false) { return {when, ends, mfa, false}; }

TEST(APolicy, that_demands_nothing_is_content) {
  const Access a = judge({.name = "open"}, {}, kNoon);
  EXPECT_EQ(a.need, Need::nothing);
  EXPECT_EQ(a.changes, UnixTime::max());
  EXPECT_EQ(a.again, UnixTime::max());
  EXPECT_EQ(a.policy, nullptr);
}

TEST(APolicy, wants_a_young_sign_in_in_a_session_that_lasts) {
  const PolicySpec p{.name = "p", .session = hours(8)};
  EXPECT_EQ(judge(p, {}, kNoon).need, Need::sign_in);
  const UnixTime started = kNoon - hours(7);
  const Access young = judge(p, signed_in(started, kNoon + hours(5)), kNoon);
  EXPECT_EQ(young.need, Need::nothing);
  EXPECT_EQ(young.changes, started + hours(8));
  EXPECT_EQ(young.again, started + hours(8));
  EXPECT_EQ(judge(p, signed_in(started, kNoon + minutes(5)), kNoon).changes, kNoon + minutes(5)) << "the session ends first";
  EXPECT_EQ(judge(p, signed_in(started, kNoon + hours(5)), started + hours(8)).need, Need::sign_in) << "to the second";
  EXPECT_EQ(judge(p, signed_in(started, kNoon + hours(5)), started + hours(8) - seconds(1)).need, Need::nothing);
  EXPECT_EQ(judge(p, signed_in(started, kNoon), kNoon).need, Need::sign_in) << "a session that is over is none";
}

TEST(APolicy, wants_a_second_factor_in_the_session_that_is) {
  const PolicySpec p{.name = "p", .mfa = true};
  EXPECT_EQ(judge(p, {}, kNoon).need, Need::second_factor);
  EXPECT_EQ(judge(p, signed_in(kNoon, kNoon + hours(1)), kNoon).need, Need::second_factor);
  EXPECT_EQ(judge(p, signed_in(kNoon, kNoon + hours(1), true), kNoon).need, Need::nothing);
  EXPECT_EQ(judge(p, signed_in(kNoon, kNoon + hours(1), true), kNoon).changes, kNoon + hours(1));
  EXPECT_EQ(judge(p, signed_in(kNoon, kNoon + hours(1), true), kNoon + hours(1)).need, Need::second_factor);
}

TEST(APolicy, wants_a_trusted_device_an_approval_an_end) {
  const PolicySpec trusted{.name = "p", .trusted_device = true};
  EXPECT_EQ(judge(trusted, {}, kNoon).need, Need::trust);
  EXPECT_EQ(judge(trusted, {.trusted = true}, kNoon).need, Need::nothing);
  const PolicySpec asked{.name = "p", .approval = hours(4)};
  EXPECT_EQ(judge(asked, {}, kNoon).need, Need::approval);
  EXPECT_EQ(judge(asked, {}, kNoon, until(kNoon)).need, Need::approval) << "it ended this second";
  EXPECT_EQ(judge(asked, {}, kNoon, until(kNoon + hours(1))).need, Need::nothing);
  EXPECT_EQ(judge(asked, {}, kNoon, until(kNoon + hours(1))).changes, kNoon + hours(1));
  const Approval long_ago{kNoon - hours(3), kNoon + hours(5)};
  EXPECT_EQ(judge(asked, {}, kNoon, long_ago).changes, kNoon + hours(1)) << "the policy was made stricter since";
  EXPECT_EQ(judge(asked, {}, kNoon + hours(1), long_ago).need, Need::approval);
  const PolicySpec ends{.name = "p", .until = kNoon + hours(1)};
  EXPECT_EQ(judge(ends, {}, kNoon).changes, kNoon + hours(1));
  EXPECT_EQ(judge(ends, {}, kNoon + hours(1)).need, Need::over);
  EXPECT_EQ(judge(ends, {}, kNoon + hours(1)).again, UnixTime::max()) << "nothing helps any more";
}

TEST(APolicy, says_the_hardest_of_what_is_missing) {
  PolicySpec p = office();
  p.session = hours(8);
  p.mfa = p.trusted_device = true;
  p.approval = hours(1);
  p.until = at("2027-01-01T00:00Z");
  const UnixTime sunday = at("2026-11-29T12:00Z");
  Standing s;
  EXPECT_EQ(judge(p, s, *p.until).need, Need::over);
  EXPECT_EQ(judge(p, s, sunday).need, Need::trust);
  s.trusted = true;
  EXPECT_EQ(judge(p, s, sunday).need, Need::hours);
  EXPECT_EQ(judge(p, s, sunday).changes, at("2026-11-30T08:00Z"));
  EXPECT_EQ(judge(p, s, kNoon).need, Need::approval);
  EXPECT_EQ(judge(p, s, kNoon, Approval{kNoon + hours(8), kNoon + hours(9)}).need, Need::second_factor);
  s.signed_in = kNoon - hours(9);
  s.session_ends = kNoon + hours(9);
  s.second_factor = true;
  EXPECT_EQ(judge(p, s, kNoon, Approval{kNoon + hours(8), kNoon + hours(9)}).need, Need::sign_in);
  s.signed_in = kNoon;
  EXPECT_EQ(judge(p, s, kNoon, Approval{kNoon + hours(8), kNoon + hours(9)}).need, Need::nothing);
  EXPECT_EQ(judge(p, s, kNoon, Approval{kNoon + hours(8), kNoon + hours(9)}).changes, at("2026-11-26T18:00Z")) << "the office closes first";
}

TEST(Hours, open_and_close_to_the_second) {
  const PolicySpec p = office();
  EXPECT_EQ(judge(p, {}, at("2026-11-26T07:59:59Z")).need, Need::hours);
  EXPECT_EQ(judge(p, {}, at("2026-11-26T07:59:59Z")).changes, at("2026-11-26T08:00Z"));
  EXPECT_EQ(judge(p, {}, at("2026-11-26T08:00Z")).need, Need::nothing);
  EXPECT_EQ(judge(p, {}, at("2026-11-26T08:00Z")).changes, at("2026-11-26T18:00Z"));
  EXPECT_EQ(judge(p, {}, at("2026-11-27T18:00Z")).need, Need::hours);
  EXPECT_EQ(judge(p, {}, at("2026-11-27T18:00Z")).changes, at("2026-11-30T08:00Z")) << "after the weekend";
}

TEST(Hours, go_by_the_clocks_of_their_zone_also_where_these_are_changed) {
  const PolicySpec p = office("Europe/Berlin");
  EXPECT_EQ(judge(p, {}, at("2026-11-26T07:00Z")).need, Need::nothing);
  EXPECT_EQ(judge(p, {}, at("2026-07-01T06:00Z")).need, Need::nothing) << "summer";
  EXPECT_EQ(judge(p, {}, at("2026-10-23T16:00Z")).changes, at("2026-10-26T07:00Z")) << "the clocks were set back meanwhile";
  EXPECT_EQ(judge(p, {}, at("2026-03-27T17:00Z")).changes, at("2026-03-30T06:00Z")) << "and forward";
  // An hour that there is not: the clock jumps from 02:00 to 03:00.
  PolicySpec night{.name = "night"};
  night.hours = parse_hours("02:30-05:00").value();
  night.time_zone = "Europe/Berlin";
  EXPECT_EQ(judge(night, {}, at("2026-03-29T00:00Z")).changes, at("2026-03-29T01:00Z"));
  EXPECT_EQ(judge(night, {}, at("2026-03-29T01:00Z")).changes, at("2026-03-29T03:00Z"));
}

TEST(Hours, may_go_on_after_midnight_and_belong_to_the_day_on_which_they_begin) {
  PolicySpec p{.name = "shift"};
  p.days = parse_days({"fri"}).value();
  p.hours = parse_hours("22:00-06:00").value();
  EXPECT_EQ(judge(p, {}, at("2026-11-27T21:59Z")).need, Need::hours);
  EXPECT_EQ(judge(p, {}, at("2026-11-27T22:00Z")).changes, at("2026-11-28T06:00Z"));
  EXPECT_EQ(judge(p, {}, at("2026-11-28T05:00Z")).need, Need::nothing) << "Saturday morning";
  EXPECT_EQ(judge(p, {}, at("2026-11-27T05:00Z")).need, Need::hours) << "Friday morning is Thursday's night";
}

TEST(Hours, of_a_zone_that_nobody_knows_are_never) {
  const PolicySpec p = office("Mars/Olympus");
  EXPECT_EQ(judge(p, {}, kNoon).need, Need::hours);
  EXPECT_EQ(judge(p, {}, kNoon).changes, UnixTime::max());
}

// The moment that is named is the first second at which the answer is another.
RC_GTEST_PROP(Hours, change_when_they_say, ()) {
  PolicySpec p{.name = "p"};
  p.days = static_cast<Weekdays>(*rc::gen::inRange(1, 128));
  const int from = *rc::gen::inRange(0, 24 * 60);
  const int to = *rc::gen::suchThat(rc::gen::inRange(0, 24 * 60 + 1), [&](int m) { return m != from; });
  p.hours = DayHours{from, to};
  p.time_zone = *rc::gen::element<std::string>("UTC", "Europe/Berlin");
  const UnixTime now = at("2026-01-01T00:00Z") + seconds(*rc::gen::inRange(0, 366 * 86400));
  const Access a = judge(p, {}, now);
  if (a.changes == UnixTime::max()) {   // 00:00-24:00 on every day
    for (int hour = 0; hour < 24 * 8; ++hour) RC_ASSERT(judge(p, {}, now + hours(hour)).need == a.need);
    return;
  }
  RC_ASSERT(a.changes > now);
  RC_ASSERT(judge(p, {}, a.changes).need != a.need);
  RC_ASSERT(judge(p, {}, a.changes - seconds(1)).need == a.need);
  const auto between = (a.changes - now).count();
  for (int i = 0; i < 20; ++i) {
    RC_ASSERT(judge(p, {}, now + seconds(*rc::gen::inRange<std::int64_t>(0, between))).need == a.need);
  }
}

TEST(ManyDemands, are_those_of_the_resource_and_of_one_group) {
  const PolicySpec mfa{.name = "mfa", .mfa = true};
  const PolicySpec trusted{.name = "trusted", .trusted_device = true};
  const PolicySpec asked{.name = "asked", .approval = hours(1)};
  Judge judge(kNoon, offset);
  const Standing strong{kNoon, kNoon + hours(1), true, false};
  EXPECT_EQ(judge(Demands{}, {}, {}).need, Need::nothing);
  EXPECT_FALSE(Demands{}.any());
  EXPECT_EQ(judge(Demands{&mfa, {}}, {}, {}).need, Need::second_factor);
  EXPECT_EQ(judge(Demands{&mfa, {&trusted}}, strong, {}).need, Need::trust);
  const Access either = judge(Demands{nullptr, {&trusted, &mfa}}, strong, {});
  EXPECT_EQ(either.need, Need::nothing) << "one group is enough";
  EXPECT_EQ(either.changes, kNoon + hours(1));
  const Access easier = judge(Demands{nullptr, {&trusted, &asked}}, {}, {});
  EXPECT_EQ(easier.need, Need::approval) << "one is told what is easiest";
  EXPECT_EQ(easier.policy, &asked);
  const Access both = judge(Demands{&asked, {&mfa}}, strong, until(kNoon + minutes(5)));
  EXPECT_EQ(both.changes, kNoon + minutes(5)) << "whichever ends first";
}

TEST(ManyDemands, are_looked_at_again_when_another_way_may_open) {
  const PolicySpec over{.name = "over", .until = kNoon - hours(1)};
  const PolicySpec hours_of = office();
  Judge night(at("2026-11-26T20:00Z"), offset);
  const Access a = night(Demands{nullptr, {&over, &hours_of}}, {}, {});
  EXPECT_EQ(a.need, Need::hours);
  EXPECT_EQ(a.again, at("2026-11-27T08:00Z"));
  const Access longest = Judge(kNoon, offset)(Demands{nullptr, {&hours_of, &over}}, {}, {});
  EXPECT_EQ(longest.again, at("2026-11-26T18:00Z"));
}

TEST(ASecondFactor, is_another_kind_of_proof) {
  EXPECT_TRUE(second_factor({"pwd", "otp"}, "", {}));
  EXPECT_TRUE(second_factor({"mfa"}, "", {}));
  EXPECT_TRUE(second_factor({"hwk", "fpt"}, "", {}));
  EXPECT_FALSE(second_factor({"pwd", "pin"}, "", {})) << "two things that one knows";
  EXPECT_FALSE(second_factor({"otp", "sms"}, "", {}));
  EXPECT_FALSE(second_factor({"pwd", "something-new"}, "", {}));
  EXPECT_FALSE(second_factor({}, "", {}));
  EXPECT_FALSE(second_factor({}, "", {""})) << "no context is none of them";
  EXPECT_TRUE(second_factor({}, "https://refeds.org/profile/mfa", {"phr", "https://refeds.org/profile/mfa"}));
  EXPECT_FALSE(second_factor({}, "https://refeds.org/profile/sfa", {"https://refeds.org/profile/mfa"}));
}

TEST(DaysAndHours, are_read_as_people_write_them) {
  EXPECT_EQ(parse_days({"mon-fri"}).value(), 0x1f);
  EXPECT_EQ(parse_days({"sat", "sun"}).value(), 0x60);
  EXPECT_EQ(parse_days({"fri-mon"}).value(), 0x71);
  EXPECT_EQ(parse_days({"mon-sun"}).value(), kEveryDay);
  for (const char* wrong : {"", "monday", "mon-", "-fri", "mon-fri-sun", "Mon"}) EXPECT_FALSE(parse_days({wrong})) << wrong;
  EXPECT_FALSE(parse_days({}));
  EXPECT_EQ(days_text(0x1f), std::vector<std::string>{"mon-fri"});
  EXPECT_EQ(days_text(0x55), (std::vector<std::string>{"mon", "wed", "fri", "sun"}));
  EXPECT_TRUE(days_text(kEveryDay).empty());
  EXPECT_EQ(to_string(parse_hours("08:00-18:30").value()), "08:00-18:30");
  EXPECT_EQ(to_string(parse_hours("22:00-06:00").value()), "22:00-06:00");
  EXPECT_EQ(to_string(parse_hours("00:00-24:00").value()), "00:00-24:00");
  for (const char* wrong : {"", "8:00-18:00", "08:00", "08:00-08:00", "24:00-06:00", "08:00-24:01", "08:60-18:00", "08:00-18:00 "}) {
    EXPECT_FALSE(parse_hours(wrong)) << wrong;
  }
}

RC_GTEST_PROP(DaysAndHours, are_read_back_as_they_were_written, ()) {
  const auto days = static_cast<Weekdays>(*rc::gen::inRange(1, 127));
  RC_ASSERT(parse_days(days_text(days)).value() == days);
  const int from = *rc::gen::inRange(0, 24 * 60);
  const DayHours written{from, *rc::gen::suchThat(rc::gen::inRange(0, 24 * 60 + 1), [&](int m) { return m != from; })};
  RC_ASSERT(parse_hours(to_string(written)).value() == written);
}

TEST(ZoneNames, are_no_paths) {
  for (const char* good : {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"}) EXPECT_TRUE(is_zone_name(good)) << good;
  for (const char* bad : {"", "../etc/passwd", "/etc/passwd", "Europe//Berlin", "Europe/", "a b", "Europe/Berlin.x"}) {
    EXPECT_FALSE(is_zone_name(bad)) << bad;
  }
}

TEST(Moments, are_read_and_written) {
  EXPECT_EQ(rfc3339(at("2026-12-31T18:00Z")), "2026-12-31T18:00:00Z");
  EXPECT_EQ(at("2026-12-31T18:00:07Z"), at("2026-12-31 18:00 UTC") + seconds(7));
  EXPECT_EQ(at("1970-01-01T00:00Z"), UnixTime());
  for (const char* wrong : {"", "2026-12-31", "2026-12-31T18:00", "2026-13-01T00:00Z", "2026-02-30T00:00Z", "2026-12-31T24:00Z",
                            "2026-12-31T18:60Z", "2026-12-31T18:00Z ", "26-12-31T18:00Z", "2026-12-31T18:00:61Z", "2026-12-31T18:0-1Z"}) {
    EXPECT_FALSE(parse_utc(wrong)) << wrong;
  }
}

RC_GTEST_PROP(Moments, are_read_back_as_they_were_written, ()) {
  const UnixTime t(seconds(*rc::gen::inRange<std::int64_t>(0, 253'402'300'800)));
  RC_ASSERT(parse_utc(rfc3339(t)).value() == t);
}

TEST(Needs, have_words) {
  for (int i = 0; i <= static_cast<int>(Need::over); ++i) {
    EXPECT_EQ(need_from(to_string(static_cast<Need>(i))), static_cast<Need>(i));
  }
  EXPECT_FALSE(need_from("something-new"));
}

}  // namespace tg::access_test
