// What is impossible in a desired state, and what has to change for it. For overlaps see core/overlaps.cpp.
#include "core/desired_state.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/access.h"
#include "core/duration.h"
#include "core/text.h"

namespace tg {
namespace {

std::string line_of(const Place& p) { return p.line > 0 ? " in line " + std::to_string(p.line) : ""; }

// Names are the entries of one kind by name, with the first place of each.
using Names = std::map<std::string, Place, std::less<>>;

class Checker {
 public:
  explicit Checker(const DesiredState& s) : state_(s) {}

  std::vector<Problem> run() {
    const Names networks = names("network", state_.networks, &NetworkSpec::name);
    names("connector", state_.connectors, &ConnectorSpec::name);
    names("relay", state_.relays, &RelaySpec::name);
    const Names providers = names("identity-provider", state_.identity_providers, &IdentityProviderSpec::name);
    const Names policies = names("policy", state_.policies, &PolicySpec::name);
    const Names users = names("user", state_.users, &UserSpec::email);
    const Names services = names("service", state_.services, &ServiceSpec::name);
    const Names groups = names("group", state_.groups, &GroupSpec::name);
    names("resource", state_.resources, &ResourceSpec::name);
    for (const ConnectorSpec& c : state_.connectors)
      refer(c.place, "connector " + c.name + ": network", "network", c.network, networks);
    check_relays();
    for (const UserSpec& u : state_.users) check_email(u);
    for (const ServiceSpec& s : state_.services) {
      if (is_person(s.name)) add(s.place, "service " + s.name, "must not have an @: that is how people are told from services");
    }
    for (const IdentityProviderSpec& p : state_.identity_providers) check_provider(p);
    for (const PolicySpec& p : state_.policies) check_policy(p);
    const auto refer_policy = [&](const Place& place, const std::string& owner, const std::string& policy) {
      if (!policy.empty()) refer(place, owner + ": policy", "policy", policy, policies);
    };
    for (const GroupSpec& g : state_.groups) {
      const std::string key = "group " + g.name + ": members";
      refer_all(g.place, key, g.members, [&](const std::string& member) {
        if (is_person(member)) refer(g.place, key, "user", member, users);
        else refer(g.place, key, "service", member, services);
      });
      check_claims(g, providers);
      refer_policy(g.place, "group " + g.name, g.policy);
    }
    for (const ResourceSpec& r : state_.resources) {
      refer(r.place, "resource " + r.name + ": network", "network", r.network, networks);
      const std::string key = "resource " + r.name + ": groups";
      refer_all(r.place, key, r.groups, [&](const std::string& group) { refer(r.place, key, "group", group, groups); });
      refer_policy(r.place, "resource " + r.name, r.policy);
    }
    check_aliases();
    std::stable_sort(out_.begin(), out_.end(),
                     [](const Problem& a, const Problem& b) { return a.place.line < b.place.line; });
    return std::move(out_);
  }

 private:
  void add(const Place& place, std::string key, std::string text) {
    out_.push_back({place, printable(key), std::move(text)});
  }

  // names collects the names of one kind, and complains of those that are empty, unprintable or there twice.
  template <class Spec>
  Names names(const std::string& kind, const std::vector<Spec>& specs, std::string Spec::*name) {
    Names out;
    for (const Spec& s : specs) {
      const std::string& n = s.*name;
      if (n.empty()) add(s.place, kind, "the name is empty");
      else if (printable(n) != n || n.size() > 200)
        add(s.place, kind + " " + n, "the name has control characters or is too long");
      const auto [at, fresh] = out.try_emplace(n, s.place);
      if (!fresh)
        add(s.place, kind + " " + n, "is there twice (first" + line_of(at->second) + "); give one another name");
    }
    return out;
  }

  void refer(const Place& place, const std::string& key, const std::string& kind, const std::string& name,
             const Names& known) {
    if (known.find(name) == known.end())
      add(place, key, "there is no " + kind + " " + in_quotes(name) + "; add a [[" + kind + "]] for it");
  }

  template <class Refer>
  void refer_all(const Place& place, const std::string& key, const std::vector<std::string>& list, const Refer& refer_one) {
    std::set<std::string_view> seen;
    for (const std::string& name : list) {
      refer_one(name);
      if (!seen.insert(name).second) add(place, key, in_quotes(name) + " is written twice");
    }
  }

  void check_relays() {
    std::map<std::string_view, const RelaySpec*> addresses;
    for (const RelaySpec& r : state_.relays) {
      const std::string key = "relay " + r.name + ": address";
      const auto parsed = HostPort::parse(r.address);
      if (!parsed || parsed->to_string() != r.address) {
        add(r.place, key, in_quotes(r.address) + " is not HOST:PORT, as in relay.example.com:8444");
      }
      const auto [at, fresh] = addresses.try_emplace(r.address, &r);
      if (!fresh) add(r.place, key, in_quotes(r.address) + " is also that of relay " + at->second->name);
    }
  }

  void check_provider(const IdentityProviderSpec& p) {
    const auto wrong = [&](const char* key, const std::string& text) {
      add(p.place, "identity-provider " + p.name + ": " + key, text);
    };
    const bool url = p.issuer.starts_with("https://") && p.issuer.size() > 8 && p.issuer.find_first_of("?#@ \"<>") == std::string::npos &&
                     printable(p.issuer, 1024) == p.issuer;
    if (!url) wrong("issuer", in_quotes(p.issuer) + " is no https address, as in https://id.example.com");
    if (p.name == "password") wrong("name", "is what signing in without a provider is called; choose another");
    if (p.client_id.empty()) wrong("client_id", "is needed: by what name does the provider know tg?");
    if (std::find(p.scopes.begin(), p.scopes.end(), "openid") == p.scopes.end()) {
      wrong("scopes", "must have \"openid\" among them");
    }
    for (const std::string& scope : p.scopes) {
      if (scope.empty() || scope.find_first_of(" \"\\") != std::string::npos) wrong("scopes", in_quotes(scope) + " is no scope");
    }
    if (p.email_claim.empty()) wrong("email_claim", "is empty");
    else if (p.email_claim != "email" && !p.trust_email) {
      wrong("email_claim", "only of \"email\" a provider says that it is verified; with another claim, set trust_email = true");
    }
    for (const std::string& domain : p.domains) {
      const auto name = canonical_name(domain);
      if (!name || *name != domain) wrong("domains", in_quotes(domain) + " is no domain in lower case, as in example.com");
    }
    for (const std::string& context : p.mfa_contexts) {
      if (context.empty() || context.find(' ') != std::string::npos) wrong("mfa_contexts", in_quotes(context) + " is no acr value");
    }
    if (p.session < kLeastTime) wrong("session", "is too short: 10s is the least");
  }

  void check_policy(const PolicySpec& p) {
    const auto wrong = [&](const char* key, const std::string& text) { add(p.place, "policy " + p.name + ": " + key, text); };
    if (p.session && *p.session < kLeastTime) wrong("session", "is too short: 10s is the least");
    if (p.approval && *p.approval < kLeastTime) wrong("approval", "is too short: 10s is the least");
    if (p.days == 0 || p.days > kEveryDay) wrong("days", "names no day; mon-sun are all of them");
    if (p.until && *p.until < UnixTime()) wrong("until", "is before 1970");
    if (!is_zone_name(p.time_zone)) wrong("time_zone", in_quotes(p.time_zone) + " is no time zone such as UTC or Europe/Berlin");
  }

  void check_claims(const GroupSpec& g, const Names& providers) {
    const std::string key = "group " + g.name + ": claims";
    std::set<Claim> seen;
    for (const Claim& c : g.claims) {
      refer(g.place, key, "identity-provider", c.provider, providers);
      if (c.value.empty()) add(g.place, key, "a value is empty");
      if (!seen.insert(c).second) add(g.place, key, in_quotes(c.value) + " is written twice");
      const auto by_name = [&](const IdentityProviderSpec& p) { return p.name == c.provider; };
      const auto at = std::find_if(state_.identity_providers.begin(), state_.identity_providers.end(), by_name);
      if (at != state_.identity_providers.end() && at->groups_claim.empty()) {
        add(g.place, key, "identity-provider " + printable(c.provider) + " has no groups_claim, so it tells no groups");
      }
    }
  }

  void check_email(const UserSpec& u) {
    const auto at = u.email.find('@');
    const bool whole = at != std::string::npos && at > 0 && at + 1 < u.email.size() &&
                       u.email.find('@', at + 1) == std::string::npos &&
                       u.email.find_first_of(" \t\r\n,;<>\"") == std::string::npos;
    if (!whole) add(u.place, "user " + u.email, "is no e-mail address, as in alice@example.com");
  }

  void check_aliases() {
    std::map<std::string_view, const ResourceSpec*> addresses, aliases;
    for (const ResourceSpec& r : state_.resources) {
      if (r.address.kind() == Address::Kind::name) addresses.try_emplace(r.address.text(), &r);
    }
    for (const ResourceSpec& r : state_.resources) {
      if (r.alias.empty()) continue;
      const std::string key = "resource " + r.name + ": alias";
      const auto canonical = canonical_name(r.alias);
      if (!canonical || *canonical != r.alias)
        add(r.place, key, canonical ? "is not in lower case" : canonical.error().text);
      else if (r.alias.find('.') == std::string::npos)
        add(r.place, key, in_quotes(r.alias) + " needs a dot, as in nas.tg");
      const bool one_host = r.address.kind() == Address::Kind::name ||
                            (r.address.kind() == Address::Kind::network && r.address.network().single());
      if (!one_host)
        add(r.place, key,
            in_quotes(r.address.text()) + " is more than one host, which an alias cannot stand for; remove the alias");
      if (const auto at = addresses.find(r.alias); at != addresses.end()) {
        add(r.place, key,
            in_quotes(r.alias) + " is also the address of resource " + at->second->name + "; choose another");
      }
      const auto [at, fresh] = aliases.try_emplace(r.alias, &r);
      if (!fresh)
        add(r.place, key, in_quotes(r.alias) + " is also the alias of resource " + at->second->name + "; choose another");
    }
  }

  static constexpr std::chrono::seconds kLeastTime{10};
  const DesiredState& state_;
  std::vector<Problem> out_;
};

// The differences of two entries of one name, as text; empty when there are none.
class Differences {
 public:
  void value(const char* what, const std::string& from, const std::string& to) {
    if (from != to) add(std::string(what) + " " + shown(from) + " -> " + shown(to));
  }
  void list(const char* what, const std::vector<std::string>& from, const std::vector<std::string>& to) {
    const std::set<std::string> old(from.begin(), from.end()), fresh(to.begin(), to.end());
    std::vector<std::string> changes;
    for (const std::string& s : fresh) {
      if (!old.contains(s)) changes.push_back("+" + s);
    }
    for (const std::string& s : old) {
      if (!fresh.contains(s)) changes.push_back("-" + s);
    }
    if (changes.empty()) return;
    std::string text;
    for (std::size_t i = 0; i < changes.size() && i < kShown; ++i) text += " " + changes[i];
    if (changes.size() > kShown) text += " and " + std::to_string(changes.size() - kShown) + " more";
    add(what + text);
  }
  const std::string& text() const noexcept { return text_; }

 private:
  static constexpr std::size_t kShown = 20;   // a plan is for people
  static std::string shown(const std::string& s) { return s.empty() ? "none" : s; }
  void add(const std::string& part) { text_ += (text_.empty() ? "" : "; ") + part; }
  std::string text_;
};

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string state_text(bool blocked) { return blocked ? "blocked" : "active"; }

std::string differences(const NetworkSpec&, const NetworkSpec&) { return ""; }
std::string differences(const ServiceSpec& from, const ServiceSpec& to) {
  Differences d;
  d.value("state", state_text(from.blocked), state_text(to.blocked));
  d.value("role", to_string(from.role), to_string(to.role));
  return d.text();
}
std::string differences(const UserSpec& from, const UserSpec& to) {
  const auto kind = [](const UserSpec& u) { return u.by_sign_in ? "by sign-in" : "listed"; };
  Differences d;
  d.value("user", kind(from), kind(to));
  d.value("state", state_text(from.blocked), state_text(to.blocked));
  d.value("role", to_string(from.role), to_string(to.role));
  return d.text();
}
std::string differences(const IdentityProviderSpec& from, const IdentityProviderSpec& to) {
  Differences d;
  d.value("issuer", from.issuer, to.issuer);
  d.value("client_id", from.client_id, to.client_id);
  d.list("scopes", from.scopes, to.scopes);
  d.value("email_claim", from.email_claim, to.email_claim);
  d.value("trust_email", from.trust_email ? "true" : "false", to.trust_email ? "true" : "false");
  d.value("groups_claim", from.groups_claim, to.groups_claim);
  d.list("domains", from.domains, to.domains);
  d.list("mfa_contexts", from.mfa_contexts, to.mfa_contexts);
  d.value("session", to_string(from.session), to_string(to.session));
  return d.text();
}
std::string differences(const ConnectorSpec& from, const ConnectorSpec& to) {
  Differences d;
  d.value("network", from.network, to.network);
  return d.text();
}
std::string differences(const RelaySpec& from, const RelaySpec& to) {
  Differences d;
  d.value("address", from.address, to.address);
  return d.text();
}
std::string differences(const GroupSpec& from, const GroupSpec& to) {
  Differences d;
  d.list("members", from.members, to.members);
  const auto texts = [](const std::vector<Claim>& claims) {
    std::vector<std::string> out;
    for (const Claim& c : claims) out.push_back(c.provider + "=" + c.value);
    return out;
  };
  d.list("claims", texts(from.claims), texts(to.claims));
  d.value("policy", from.policy, to.policy);
  return d.text();
}
std::string differences(const ResourceSpec& from, const ResourceSpec& to) {
  Differences d;
  d.value("network", from.network, to.network);
  d.value("address", from.address.text(), to.address.text());
  d.value("alias", from.alias, to.alias);
  d.list("groups", from.groups, to.groups);
  if (from.protocols != to.protocols) d.value("protocols", from.protocols.to_string(), to.protocols.to_string());
  d.value("policy", from.policy, to.policy);
  return d.text();
}

std::string differences(const PolicySpec& from, const PolicySpec& to) {
  const auto word = [](bool b) { return b ? "true" : "false"; };
  const auto length = [](const std::optional<std::chrono::seconds>& s) { return s ? to_string(*s) : ""; };
  const auto hours = [](const PolicySpec& p) { return p.hours ? to_string(*p.hours) : ""; };
  const auto until = [](const PolicySpec& p) { return p.until ? rfc3339(*p.until) : ""; };
  Differences d;
  d.value("session", length(from.session), length(to.session));
  d.value("mfa", word(from.mfa), word(to.mfa));
  d.value("trusted_device", word(from.trusted_device), word(to.trusted_device));
  const auto days = [](Weekdays w) { return w == kEveryDay ? "every day" : joined(days_text(w)); };
  d.value("days", days(from.days), days(to.days));
  d.value("hours", hours(from), hours(to));
  d.value("time_zone", from.time_zone, to.time_zone);
  d.value("until", until(from), until(to));
  d.value("approval", length(from.approval), length(to.approval));
  return d.text();
}

std::string described(const NetworkSpec&) { return ""; }
std::string standing(bool blocked, Role role) {
  std::vector<std::string> out;
  if (blocked) out.push_back("blocked");
  if (role != Role::member) out.push_back(std::string("role ") + to_string(role));
  return joined(out);
}
std::string described(const UserSpec& u) { return standing(u.blocked, u.role); }
std::string described(const ServiceSpec& s) { return standing(s.blocked, s.role); }
std::string described(const ConnectorSpec& c) { return "network " + c.network; }
std::string described(const RelaySpec& r) { return r.address; }
std::string described(const IdentityProviderSpec& p) { return p.issuer; }
std::string described(const GroupSpec& g) {
  const auto count = [](std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); };
  return count(g.members.size(), "member") + (g.claims.empty() ? "" : ", " + count(g.claims.size(), "claim"));
}
std::string described(const ResourceSpec& r) { return r.address.text(); }
std::string described(const PolicySpec& p) { return what_for(p); }

class Planner {
 public:
  template <class Spec>
  void compare(const char* kind, const std::vector<Spec>& now, const std::vector<Spec>& wanted,
               std::string Spec::*name) {
    std::map<std::string_view, const Spec*> old;
    for (const Spec& s : now) old.try_emplace(s.*name, &s);
    for (const Spec& s : wanted) {
      const auto at = old.find(s.*name);
      if (at == old.end()) {
        creations_.push_back({Change::Verb::create, kind, s.*name, described(s)});
        continue;
      }
      if (std::string d = differences(*at->second, s); !d.empty()) {
        updates_.push_back({Change::Verb::update, kind, s.*name, std::move(d)});
      }
      old.erase(at);
    }
    for (const Spec& s : now) {
      if (old.erase(s.*name) > 0) removals_.push_back({Change::Verb::remove, kind, s.*name, ""});
    }
  }

  std::vector<Change> result(bool prune) {
    std::vector<Change> out = std::move(creations_);
    out.insert(out.end(), updates_.begin(), updates_.end());
    if (prune)
      out.insert(out.end(), removals_.rbegin(), removals_.rend());   // what refers goes before what is referred to
    return out;
  }

 private:
  std::vector<Change> creations_, updates_, removals_;
};

}  // namespace

std::string what_for(const PolicySpec& p) {
  std::vector<std::string> out;
  if (p.session) out.push_back("a sign-in of the last " + to_string(*p.session));
  if (p.mfa) out.push_back("a second factor");
  if (p.trusted_device) out.push_back("a trusted device");
  if (p.approval) out.push_back("approval for up to " + to_string(*p.approval));
  if (p.days != kEveryDay || p.hours) {
    std::string when = joined(days_text(p.days));
    if (p.hours) when += (when.empty() ? "" : " ") + to_string(*p.hours);
    out.push_back(when + " " + p.time_zone);
  }
  if (p.until) out.push_back("until " + utc_text(*p.until));
  return out.empty() ? "nothing" : joined(out);
}

std::vector<Problem> problems(const DesiredState& state) { return Checker(state).run(); }

std::vector<Change> plan(const DesiredState& now, const DesiredState& wanted, bool prune) {
  Planner p;
  p.compare("network", now.networks, wanted.networks, &NetworkSpec::name);
  p.compare("connector", now.connectors, wanted.connectors, &ConnectorSpec::name);
  p.compare("relay", now.relays, wanted.relays, &RelaySpec::name);
  p.compare("identity-provider", now.identity_providers, wanted.identity_providers, &IdentityProviderSpec::name);
  p.compare("policy", now.policies, wanted.policies, &PolicySpec::name);
  p.compare("user", now.users, wanted.users, &UserSpec::email);
  p.compare("service", now.services, wanted.services, &ServiceSpec::name);
  p.compare("group", now.groups, wanted.groups, &GroupSpec::name);
  p.compare("resource", now.resources, wanted.resources, &ResourceSpec::name);
  return p.result(prune);
}

namespace {

template <class Spec>
std::vector<Spec> outcome_of(const std::vector<Spec>& now, const std::vector<Spec>& wanted, std::string Spec::*name,
                             bool prune) {
  std::map<std::string_view, const Spec*> fresh;
  for (const Spec& s : wanted) fresh.try_emplace(s.*name, &s);
  std::vector<Spec> out;
  for (const Spec& s : now) {
    if (const auto at = fresh.find(s.*name); at != fresh.end()) {
      out.push_back(*at->second);
      fresh.erase(at);
    } else if (!prune) {
      out.push_back(s);
    }
  }
  for (const Spec& s : wanted) {
    if (fresh.contains(s.*name)) out.push_back(s);
  }
  return out;
}

}  // namespace

DesiredState outcome(const DesiredState& now, const DesiredState& wanted, bool prune) {
  DesiredState out;
  out.networks = outcome_of(now.networks, wanted.networks, &NetworkSpec::name, prune);
  out.connectors = outcome_of(now.connectors, wanted.connectors, &ConnectorSpec::name, prune);
  out.relays = outcome_of(now.relays, wanted.relays, &RelaySpec::name, prune);
  out.identity_providers =
      outcome_of(now.identity_providers, wanted.identity_providers, &IdentityProviderSpec::name, prune);
  out.policies = outcome_of(now.policies, wanted.policies, &PolicySpec::name, prune);
  out.users = outcome_of(now.users, wanted.users, &UserSpec::email, prune);
  out.services = outcome_of(now.services, wanted.services, &ServiceSpec::name, prune);
  out.groups = outcome_of(now.groups, wanted.groups, &GroupSpec::name, prune);
  out.resources = outcome_of(now.resources, wanted.resources, &ResourceSpec::name, prune);
  out.tests = wanted.tests;
  out.told = now.told;
  for (const IdentityProviderSpec& p : now.identity_providers) {
    const auto same = [&](const IdentityProviderSpec& o) { return o.name == p.name && !ends_sessions(p, o); };
    if (std::any_of(out.identity_providers.begin(), out.identity_providers.end(), same)) continue;
    for (auto& [user, claims] : out.told) std::erase_if(claims, [&](const Claim& c) { return c.provider == p.name; });
  }
  return out;
}

bool names_nothing(const DesiredState& state) {
  return state.networks.empty() && state.connectors.empty() && state.relays.empty() && state.identity_providers.empty() && state.policies.empty() &&
         state.users.empty() && state.services.empty() && state.groups.empty() && state.resources.empty();
}

std::map<std::string, std::vector<std::size_t>> groups_of(const DesiredState& state) {
  std::map<Claim, std::vector<std::size_t>> by_claim;
  std::map<std::string, std::set<std::size_t>> found;
  for (std::size_t i = 0; i < state.groups.size(); ++i) {
    for (const std::string& member : state.groups[i].members) found[member].insert(i);
    for (const Claim& claim : state.groups[i].claims) by_claim[claim].push_back(i);
  }
  for (const auto& [user, claims] : state.told) {
    for (const Claim& claim : claims) {
      const auto at = by_claim.find(claim);
      if (at != by_claim.end()) found[user].insert(at->second.begin(), at->second.end());
    }
  }
  std::map<std::string, std::vector<std::size_t>> out;
  for (const auto& [user, groups] : found) out[user].assign(groups.begin(), groups.end());
  return out;
}

bool ends_sessions(const IdentityProviderSpec& from, const IdentityProviderSpec& to) {
  const std::set<std::string> domains(to.domains.begin(), to.domains.end());
  const bool fewer = std::any_of(from.domains.begin(), from.domains.end(), [&](const auto& d) { return !domains.contains(d); }) ||
                     (from.domains.empty() && !domains.empty());
  return other_people(from, to) || fewer || from.groups_claim != to.groups_claim;
}

bool other_people(const IdentityProviderSpec& from, const IdentityProviderSpec& to) {
  return from.issuer != to.issuer || from.client_id != to.client_id || from.email_claim != to.email_claim ||
         (from.trust_email && !to.trust_email);
}

DesiredState with_guests(DesiredState wanted, const DesiredState& now) {
  std::set<std::string> named, members;
  for (const UserSpec& u : wanted.users) named.insert(u.email);
  for (const GroupSpec& g : wanted.groups) members.insert(g.members.begin(), g.members.end());
  for (const UserSpec& u : now.users) {
    const bool member = members.contains(u.email);
    if ((!u.by_sign_in && !u.blocked && !member) || named.contains(u.email)) continue;
    wanted.users.push_back({u.email, {}, u.by_sign_in && !member, u.blocked, u.role});
  }
  return wanted;
}

std::string to_string(const Change& c) {
  const std::string what = c.kind + " " + printable(c.name);
  switch (c.verb) {
    case Change::Verb::create: return "+ " + what + (c.detail.empty() ? "" : " (" + printable(c.detail) + ")");
    case Change::Verb::update: return "~ " + what + ": " + printable(c.detail, 1000);
    case Change::Verb::remove: break;
  }
  return "- " + what;
}

}  // namespace tg
