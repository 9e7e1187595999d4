// What a [[test]] says must hold of a desired state, and whether it does.
#include <algorithm>
#include <charconv>
#include <map>

#include "core/desired_state.h"
#include "core/matcher.h"
#include "core/text.h"

namespace tg {
namespace {

tl::unexpected<Error> no_target(std::string_view text, const std::string& why) {
  return fail(Errc::invalid_argument, "\"" + printable(text, 100) + "\" " + why);
}

// Reach knows which Resources each user or service is granted, and which of those a host belongs to.
class Reach {
 public:
  explicit Reach(const DesiredState& state) : state_(state), matcher_(resources(state)) {
    for (const auto& [user, groups] : groups_of(state)) {
      for (const std::size_t i : groups) groups_[user].insert(state.groups[i].name);
    }
    for (const UserSpec& u : state.users) {
      users_.insert(u.email);
      if (u.blocked) groups_.erase(u.email);
    }
    for (const ServiceSpec& s : state.services) {
      users_.insert(s.name);
      if (s.blocked) groups_.erase(s.name);
    }
    for (const PolicySpec& p : state.policies) {
      if (wants_a_person(p)) for_people_.insert(p.name);
    }
    for (const GroupSpec& g : state.groups) {
      if (for_people_.contains(g.policy)) groups_for_people_.insert(g.name);
    }
  }

  bool knows(const std::string& user) const { return users_.contains(user); }

  // why_not returns why `user` does not reach `target`; "" when it does.
  std::string why_not(const std::string& user, const ReachTarget& target, std::string& winner) const {
    const Resource* found = granted_winner(matcher_, target.host, [&](const Resource& r) { return granted(user, r); });
    if (found == nullptr) {
      const Resource* other = matcher_.find(target.host);
      return other == nullptr ? "no resource has this host"
                              : "the host belongs to resource " + printable(other->name) +
                                    ", which is for none of the user's groups";
    }
    winner = found->name;
    if (!is_person(user) && !serves(user, *found)) {
      return "a policy of resource " + printable(found->name) + ", or of its groups, wants a sign-in, and a service has none";
    }
    if (found->protocols.allow(target.protocol, target.port)) return {};
    return "resource " + printable(found->name) + " allows " + found->protocols.to_string();
  }

 private:
  static std::vector<Resource> resources(const DesiredState& state) {
    std::vector<Resource> out;
    for (const ResourceSpec& r : state.resources) {
      out.push_back({out.size(), r.name, r.network, r.address, r.alias, r.protocols});
    }
    return out;
  }

  bool granted(const std::string& user, const Resource& r) const {
    const auto groups = groups_.find(user);
    if (groups == groups_.end()) return false;
    const std::vector<std::string>& of = state_.resources[r.id].groups;
    return std::any_of(of.begin(), of.end(), [&](const std::string& g) { return groups->second.contains(g); });
  }

  // What a policy demands counts as given, but for what a service can never give.
  static bool wants_a_person(const PolicySpec& p) { return p.session || p.mfa || p.approval; }
  bool serves(const std::string& service, const Resource& r) const {
    const ResourceSpec& spec = state_.resources[r.id];
    const std::set<std::string>& of = groups_.at(service);
    return !for_people_.contains(spec.policy) && std::any_of(spec.groups.begin(), spec.groups.end(), [&](const std::string& g) {
      return of.contains(g) && !groups_for_people_.contains(g);
    });
  }

  const DesiredState& state_;
  Matcher matcher_;
  std::set<std::string> users_;
  std::map<std::string, std::set<std::string>> groups_;
  std::set<std::string> for_people_, groups_for_people_;   // policies, and groups with one
};

}  // namespace

Result<ReachTarget> parse_target(std::string_view text) {
  ReachTarget out{std::string(text), {}, Protocol::tcp, 0};
  std::string_view rest = text;
  if (const auto slash = rest.rfind('/'); slash != std::string_view::npos) {
    const std::string_view protocol = rest.substr(slash + 1);
    if (protocol == "udp") out.protocol = Protocol::udp;
    else if (protocol == "icmp") out.protocol = Protocol::icmp;
    else if (protocol != "tcp") return no_target(text, "ends in something else than /tcp, /udp or /icmp");
    rest = rest.substr(0, slash);
  }
  if (out.protocol != Protocol::icmp) {
    const auto colon = rest.rfind(':');
    const bool bare_v6 = colon != std::string_view::npos && rest.find(':') != colon && rest[colon - 1] != ']';
    if (colon == std::string_view::npos || bare_v6) {
      return no_target(text, "has no port, as in nas.home.int:22, 10.0.0.7:53/udp or nas.home.int/icmp");
    }
    const std::string_view port = rest.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (error != std::errc() || end != port.data() + port.size()) return no_target(text, "has no port from 0 to 65535");
    rest = rest.substr(0, colon);
  }
  if (rest.size() > 2 && rest.front() == '[' && rest.back() == ']') rest = rest.substr(1, rest.size() - 2);
  auto host = parse_host(rest);
  if (!host) return no_target(text, "names no host: " + host.error().text);
  out.host = std::move(*host);
  return out;
}

std::vector<Problem> failures(const DesiredState& state, const std::vector<TestSpec>& tests) {
  std::vector<Problem> out;
  if (tests.empty()) return out;
  const Reach reach(state);
  for (const TestSpec& t : tests) {
    const std::string key = "test of " + printable(t.user);
    if (!reach.knows(t.user)) {
      const std::string kind = is_person(t.user) ? "user" : "service";
      out.push_back({t.place, key + ": user", "there is no " + kind + " \"" + printable(t.user) + "\""});
    }
    for (const ReachTarget& target : t.can) {
      std::string winner;
      const std::string why = reach.why_not(t.user, target, winner);
      if (!why.empty()) out.push_back({t.place, key + ": can", "cannot reach " + printable(target.text) + ": " + why});
    }
    for (const ReachTarget& target : t.cannot) {
      std::string winner;
      if (reach.why_not(t.user, target, winner).empty()) {
        out.push_back({t.place, key + ": cannot",
                       "can reach " + printable(target.text) + ", through resource " + printable(winner)});
      }
    }
  }
  return out;
}

}  // namespace tg
