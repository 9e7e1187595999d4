// Who has lost something, and when time alone changes something, against an oracle.
#include "cmd/controller/directory.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

#include "tests/cmd/controller_support.h"

namespace tg::controller::controller_directory_test {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

std::optional<seconds> utc(const std::string&, UnixTime) { return seconds(0); }

// The oracle works everything out for each device anew.

Model draw_model() {
  Model m;
  m.networks = {"home", "office"};
  const auto chance = [](int percent) { return *rc::gen::inRange(0, 100) < percent; };
  const auto number = [](int most) { return *rc::gen::inRange(0, most + 1); };
  for (int i = 0; i < 3; ++i) {
    PolicySpec p{.name = "p" + std::to_string(i)};
    p.mfa = chance(30);
    p.trusted_device = chance(30);
    if (chance(30)) p.until = kNow + hours(number(4) - 1);
    if (chance(30)) p.session = hours(1 + number(4));
    if (chance(20)) p.approval = hours(4);
    m.policies.push_back(p);
  }
  const auto some_policy = [&] { return chance(50) ? std::string() : "p" + std::to_string(number(2)); };
  for (int i = 0; i < 4; ++i) {
    GroupRecord g{"g" + std::to_string(i), {}};
    for (int u = 0; u < 3; ++u) {
      if (chance(50)) g.members.push_back("u" + std::to_string(u));
    }
    g.policy = some_policy();
    m.groups.push_back(g);
  }
  for (ResourceId id = 1; id <= 5; ++id) {
    if (chance(15)) continue;
    ResourceRecord r{{id, "r" + std::to_string(id), chance(80) ? "home" : "office", must(Address::parse("r.home.int")), "", {}}, {}};
    for (int g = 0; g < 4; ++g) {
      if (chance(35)) r.groups.push_back("g" + std::to_string(g));
    }
    r.policy = some_policy();
    m.resources.push_back(r);
  }
  for (int i = 0; i < 5; ++i) {
    if (chance(10)) continue;
    DeviceRecord d{"d" + std::to_string(i), "u" + std::to_string(i % 3), "laptop", "key"};
    d.blocked = chance(10);
    d.trusted = chance(50);
    d.signs_in = chance(50);
    if (chance(60)) {
      d.session = {"password", chance(50) ? std::vector<std::string>{"pwd", "otp"} : std::vector<std::string>{"pwd"}, "",
                   kNow - hours(number(3)), kNow + hours(number(4) - 1)};
    }
    m.devices.push_back(d);
  }
  for (int i = 0; i < 2; ++i) {
    RequestRecord r;
    r.user = "u" + std::to_string(number(2));
    r.resource = static_cast<ResourceId>(1 + number(4));
    r.state = chance(70) ? RequestRecord::State::approved : RequestRecord::State::open;
    r.decided = r.asked = kNow - hours(1);
    r.until = kNow + hours(number(3) - 1);
    m.requests.push_back(r);
  }
  return m;
}

using Reach = std::set<std::pair<ResourceId, std::string>>;

Reach oracle(const Model& m, const std::string& id, UnixTime now) {
  Reach out;
  const DeviceRecord* d = m.device(id);
  if (d == nullptr || !d->let_in(now)) return out;
  const auto content = [&](const std::string& name, ResourceId resource) {
    for (const PolicySpec& p : m.policies) {
      if (p.name != name) continue;
      const bool session = d->session && now < d->session->expires;
      if (p.until && now >= *p.until) return false;
      if (p.trusted_device && !d->trusted) return false;
      if (p.mfa && !(session && d->session->methods.size() == 2)) return false;
      if (p.session && !(session && now < d->session->started + *p.session)) return false;
      return !p.approval || std::any_of(m.requests.begin(), m.requests.end(), [&](const RequestRecord& r) {
        return r.user == d->user && r.resource == resource && r.state == RequestRecord::State::approved && now < r.until;
      });
    }
    return name.empty();
  };
  for (const ResourceRecord& r : m.resources) {
    for (const GroupRecord& g : m.groups) {
      const bool member = std::find(g.members.begin(), g.members.end(), d->user) != g.members.end();
      const bool leads = std::find(r.groups.begin(), r.groups.end(), g.name) != r.groups.end();
      if (member && leads && content(g.policy, r.resource.id) && content(r.policy, r.resource.id)) {
        out.emplace(r.resource.id, r.resource.network);
      }
    }
  }
  return out;
}

// until returns when a device reaches something no longer by the time alone: everything in a drawn model ends on the hour.
UnixTime until(const Model& m, const std::string& id, const Reach::value_type& one, UnixTime now) {
  for (int hour = 0; hour < 6; ++hour) {
    const UnixTime t = kNow + hours(hour);
    if (t > now && !oracle(m, id, t).contains(one)) return t;
  }
  return UnixTime::max();
}

RC_GTEST_PROP(Lost, is_what_somebody_reached_and_does_not_reach_now_or_not_for_as_long, ()) {
  const Model from = draw_model(), to = draw_model();
  const UnixTime now = kNow + minutes(*rc::gen::inRange(0, 60));
  std::vector<std::string> expected;
  for (const DeviceRecord& d : from.devices) {
    if (!d.let_in(UnixTime())) continue;
    const DeviceRecord* after = to.device(d.id);
    bool lost = after == nullptr || !after->let_in(now) || after->reaches_until() < d.reaches_until();   // whatever it reached
    // A session that lets a device in does so until it is taken away.
    const auto lasting = [&](Model m) {
      for (DeviceRecord& other : m.devices) {
        if (other.id == d.id) other.signs_in = false;
      }
      return m;
    };
    if (lost) {
      expected.push_back(d.id);
      continue;
    }
    const Model before = lasting(from), since = lasting(to);
    for (const auto& one : oracle(before, d.id, now)) {
      const auto then = std::min(until(before, d.id, one, now), d.reaches_until());
      lost = lost || !oracle(to, d.id, now).contains(one) || std::min(until(since, d.id, one, now), after->reaches_until()) < then;
    }
    if (lost) expected.push_back(d.id);
  }
  const Directory before(from), after(to, &before);
  Judge judge(now, utc);
  RC_ASSERT(lost(before, after, judge) == expected);
}

RC_GTEST_PROP(Time, changes_nothing_before_it_is_said_to, ()) {
  Model m = draw_model();
  for (PolicySpec& p : m.policies) {
    if (*rc::gen::inRange(0, 2) == 0) continue;
    p.hours = DayHours{60 * *rc::gen::inRange(0, 12), 60 * *rc::gen::inRange(12, 25)};
    p.days = static_cast<Weekdays>(*rc::gen::inRange(1, 128));
  }
  const auto content = [&](const std::string& device, UnixTime t) {
    Judge judge(t, utc);
    const Directory d(m);
    std::set<ResourceId> out;
    const DeviceRecord* record = d.model().device(device);
    if (!record->let_in(t)) return out;
    for (const Reached& r : d.reach(record->user).reached) {
      if (d.access(*record, d.standing_of(*record), r, judge).need == Need::nothing) out.insert(r.resource->resource.id);
    }
    return out;
  };
  Judge judge(kNow, utc);
  UnixTime next = Directory(m).next_change(judge);
  for (const DeviceRecord& d : m.devices) {
    if (d.let_in(kNow) && d.signs_in) next = std::min(next, d.reaches_until());
  }
  RC_ASSERT(next > kNow);
  for (int i = 0; i < 20; ++i) {
    const UnixTime t = kNow + minutes(*rc::gen::inRange(0, 24 * 60));
    if (t >= next) continue;
    for (const DeviceRecord& d : m.devices) RC_ASSERT(content(d.id, t) == content(d.id, kNow));
  }
}

}  // namespace tg::controller::controller_directory_test
