// What the controller's tests share: a clock that stands still, a small company.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "cmd/controller/store.h"
#include "cmd/controller/views.h"
#include "core/json.h"
#include "tests/support/folder.h"

namespace tg::controller {

using test::Folder;

inline constexpr UnixTime kNow{std::chrono::seconds(1'800'000'000)};

// must returns the value of a Result, or fails the test with its error.
template <class T>
T must(Result<T> r) {
  if (!r) throw std::runtime_error(r.error().text);
  return std::move(*r);
}
inline void must(Result<> r) {
  if (!r) throw std::runtime_error(r.error().text);
}

inline ResourceSpec resource(const std::string& name, const std::string& address, const std::string& group,
                             const std::string& network = "home") {
  return {name, network, must(Address::parse(address)), "", {group}, {}, {}};
}

// home is one network with one connector, alice in the family, bob in nothing, and a NAS for the family.
inline DesiredState home() {
  DesiredState s;
  s.networks = {{"home", {}}};
  s.connectors = {{"home-1", "home", {}}};
  s.users = {{"alice@example.com", {}}, {"bob@example.com", {}}};
  s.groups = {{"family", {"alice@example.com"}, {}}, {"guests", {}, {}}};
  s.resources = {resource("NAS", "nas.home.int", "family")};
  return s;
}

// enrolled returns the id of a device or connector let in with a token made for it.
inline std::string enrolled(Store& store, Token::Role role, const std::string& subject, const std::string& key,
                            UnixTime now = kNow) {
  const FreshToken token = must(store.new_token(role, subject, now, std::chrono::minutes(10)));
  return must(store.enroll({token.id, token.secret, role, "laptop", key}, now));
}

// view_of reads what an agent is told.
inline View view_of(const ToldView& told) {
  View out;
  for (const Items& items : {told.common ? *told.common : Items(), told.own}) {
    for (const auto& [key, text] : items) EXPECT_TRUE(out.emplace(key, parse_json(*text).value()).second) << key << " is in both parts";
  }
  return out;
}

// told_to returns what a device is told of a Directory, where all clocks show UTC.
inline View told_to(const std::string& device, const Directory& directory, const Presence& presence, const std::vector<RelayPlace>& relays,
                    const LeaseKeys& keys, Leases& leases, UnixTime now) {
  Judge judge(now, [](const std::string&, UnixTime) { return std::chrono::seconds(0); });
  return view_of(device_items(directory, presence, relays, keys, device, leases, judge));
}

}  // namespace tg::controller
