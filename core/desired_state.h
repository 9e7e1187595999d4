// What an administrator wants to be true, and what has to change for it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/resource.h"
#include "core/result.h"
#include "core/rights.h"
#include "core/time.h"

namespace tg {

// DesiredState is the content of the file for `tg controller apply`, parsed and canonical. Place is where an entry
// stands in that file, for messages.
struct Place {
  int line = 0;
  bool operator==(const Place&) const = default;
};
struct NetworkSpec { std::string name; Place place; };
struct ConnectorSpec { std::string name; std::string network; Place place; };
struct RelaySpec { std::string name; std::string address; Place place; };   // "HOST:PORT" at which agents find it
// IdentityProviderSpec is an OpenID Connect provider at which people sign in.
struct IdentityProviderSpec {
  static constexpr std::chrono::seconds kSession = std::chrono::hours(12);
  std::string name;
  std::string issuer;                     // exactly as it calls itself: "https://id.example.com"
  std::string client_id;
  std::vector<std::string> scopes = {"openid", "email", "profile"};
  std::string email_claim = "email";
  bool trust_email = false;               // take its addresses without its word that they are verified
  std::string groups_claim;               // "": its groups are not asked for
  std::vector<std::string> domains;       // whose addresses alone it may vouch for, and need not be listed as users; lower case
  std::chrono::seconds session = kSession;   // how long a sign-in is good for
  Place place;
  std::vector<std::string> mfa_contexts{};   // its words (acr) for a sign-in with a second factor
};
// Weekdays is a set of days: bit 0 is Monday. DayHours are minutes of a day; `to` may be 24:00, or before `from`: of the next day.
using Weekdays = std::uint8_t;
inline constexpr Weekdays kEveryDay = 0x7f;
struct DayHours {
  int from = 0;
  int to = 0;
  bool operator==(const DayHours&) const = default;
};
// PolicySpec is what a Resource, or a group for what is reached through it, demands beyond membership; see core/access.h. What is
// not set is not demanded.
struct PolicySpec {
  std::string name;
  std::optional<std::chrono::seconds> session;   // the sign-in must be younger than this
  bool mfa = false;                              // and have shown a second factor
  bool trusted_device = false;
  Weekdays days = kEveryDay;
  std::optional<DayHours> hours;
  std::string time_zone = "UTC";                 // of days and hours
  std::optional<UnixTime> until;                 // after which nothing is reached any more
  std::optional<std::chrono::seconds> approval;  // a request must be approved, for this long at most
  Place place;
};
// by_sign_in: made by the first sign-in of somebody in one of the `domains`, and not listed by an administrator.
// blocked: he reaches nothing, and nobody lets him in. role: what he may do at the controller; it leads to no Resource.
struct UserSpec { std::string email; Place place; bool by_sign_in = false; bool blocked = false; Role role = Role::member; };
// ServiceSpec is a machine account: its devices come in by its keys. No name of one has an '@', as each e-mail address has.
struct ServiceSpec { std::string name; Place place; bool blocked = false; Role role = Role::member; };
// Claim is one value that an identity provider may tell of a person.
struct Claim {
  std::string provider;                   // by name
  std::string value;
  auto operator<=>(const Claim&) const = default;
};
struct GroupSpec {
  std::string name;
  std::vector<std::string> members;       // users by e-mail address, services by name
  Place place;
  std::vector<Claim> claims;              // of whom a provider says one of these is a member too
  std::string policy{};                   // by name; "": none
};
struct ResourceSpec {
  std::string name;
  std::string network;
  Address address;
  std::string alias;
  std::vector<std::string> groups;
  Protocols protocols;
  Place place;
  std::string policy{};                   // by name; "": none
};
// ReachTarget is where a flow would go, as in "nas.home.int:22", "10.0.0.7:53/udp" or "nas.home.int/icmp".
struct ReachTarget {
  std::string text;       // as it was written
  Host host;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0; // 0 for ICMP
};
// parse_target errors: Errc::invalid_argument, and the text says what is wrong.
Result<ReachTarget> parse_target(std::string_view text);

// TestSpec is what must hold of a state: that `user` (or a service) reaches all of `can`, and none of `cannot`.
struct TestSpec {
  std::string user;
  std::vector<ReachTarget> can;
  std::vector<ReachTarget> cannot;
  Place place;
};

// The Resources stand in the order of their ids, which decides where nothing else does: those that have none yet get
// theirs in the order in which they stand.
struct DesiredState {
  std::vector<NetworkSpec> networks;
  std::vector<ConnectorSpec> connectors;
  std::vector<RelaySpec> relays;
  std::vector<IdentityProviderSpec> identity_providers;
  std::vector<PolicySpec> policies;
  std::vector<UserSpec> users;
  std::vector<ServiceSpec> services;
  std::vector<GroupSpec> groups;
  std::vector<ResourceSpec> resources;
  std::vector<TestSpec> tests;            // must hold of the state that this one leads to; they are not kept
  std::map<std::string, std::set<Claim>> told;   // by user, at the last sign-in: no part of a file, and not changed by one
};

// names_nothing says whether a state has no entry: most likely a mistake on the way here.
bool names_nothing(const DesiredState& state);

// groups_of returns the groups of each user who is in any, by the index in state.groups: as a member, or by a claim.
std::map<std::string, std::vector<std::size_t>> groups_of(const DesiredState& state);

// is_person tells an e-mail address from the name of a service.
inline bool is_person(std::string_view subject) { return subject.find('@') != std::string_view::npos; }

// other_people says whether a provider that was changed so may mean other people by the same words, so that nothing that it said
// before counts any more: accounts, sessions, claims.
bool other_people(const IdentityProviderSpec& from, const IdentityProviderSpec& to);

// ends_sessions says whether the sessions that a provider gave, and what it told, are over with a change of it: also when it vouches
// for fewer people, or tells groups elsewhere.
bool ends_sessions(const IdentityProviderSpec& from, const IdentityProviderSpec& to);

// with_guests returns `wanted` and the users of `now` whom no file needs to name: those who came by signing in, those who are
// blocked (or they would come back as others), and members in `wanted`, who are listed from then on. Who has a role is listed,
// and a file has to name him; those who stay keep theirs.
DesiredState with_guests(DesiredState wanted, const DesiredState& now);

// Problem is one thing wrong (or worth a warning) in a desired state.
struct Problem {
  Place place;
  std::string key;        // "resource NAS: network"
  std::string text;       // what is wrong and what to do
};

// what_for returns what a policy demands in a few words: "a second factor, mon-fri 08:00-18:00 UTC".
std::string what_for(const PolicySpec& p);

// problems returns what makes `state` impossible: double names, references to nothing, an alias that is also an
// address, two relays at one address, a member written twice, an address that nobody vouches for. Empty: it can be applied.
std::vector<Problem> problems(const DesiredState& state);
// overlaps returns a warning for each pair of Resources that some host belongs to, and says which of them wins. With
// `about`, only for pairs of which one has a name that is in there. At most kOverlapsMost are told.
inline constexpr std::size_t kOverlapsMost = 100;
std::vector<Problem> overlaps(const DesiredState& state);
std::vector<Problem> overlaps(const DesiredState& state, const std::set<std::string>& about);
// failures returns what of `tests` does not hold in `state`, each with why.
std::vector<Problem> failures(const DesiredState& state, const std::vector<TestSpec>& tests);

// Change is one step of a plan.
struct Change {
  enum class Verb : std::uint8_t { create, update, remove };
  Verb verb = Verb::create;
  std::string kind;       // "network", "connector", "relay", "identity-provider", "policy", "user", "service", "group", "resource"
  std::string name;
  std::string detail;     // for update: "address nas.home.int -> nas2.home.int"; otherwise "" or a short description
  bool operator==(const Change&) const = default;
};

// plan returns the changes that turn `now` into `wanted`, in an order that can be carried out: creations from networks
// to resources, then updates, then, with `prune`, removals (what `wanted` does not name) from resources to networks.
// The same state twice gives an empty plan.
std::vector<Change> plan(const DesiredState& now, const DesiredState& wanted, bool prune);
// outcome returns the state that plan leads to: what was there in its order, then what is new. Entries of `wanted` keep
// their places, others have none. It has the tests of `wanted`.
DesiredState outcome(const DesiredState& now, const DesiredState& wanted, bool prune);
std::string to_string(
    const Change& c);   // "+ resource NAS (nas.home.int)", "~ group family: …", "- user bob@example.com"

}  // namespace tg
