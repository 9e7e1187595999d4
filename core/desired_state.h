// What an administrator wants to be true, and what has to change for it.
#pragma once

#include <string>
#include <vector>

#include "core/resource.h"
#include "core/result.h"

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
struct UserSpec { std::string email; Place place; };
struct GroupSpec { std::string name; std::vector<std::string> members; Place place; };
struct ResourceSpec {
  std::string name;
  std::string network;
  Address address;
  std::string alias;
  std::vector<std::string> groups;
  Protocols protocols;
  Place place;
};
struct DesiredState {
  std::vector<NetworkSpec> networks;
  std::vector<ConnectorSpec> connectors;
  std::vector<RelaySpec> relays;
  std::vector<UserSpec> users;
  std::vector<GroupSpec> groups;
  std::vector<ResourceSpec> resources;
};

// Problem is one thing wrong (or worth a warning) in a desired state.
struct Problem {
  Place place;
  std::string key;        // "resource NAS: network"
  std::string text;       // what is wrong and what to do
};

// problems returns what makes `state` impossible: double names, references to nothing, an alias that is also an
// address, two relays at one address, a member written twice. Empty: it can be applied.
std::vector<Problem> problems(const DesiredState& state);
// overlaps returns a warning for each pair of Resources that some host belongs to, and says which of them wins.
std::vector<Problem> overlaps(const DesiredState& state);

// Change is one step of a plan.
struct Change {
  enum class Verb : std::uint8_t { create, update, remove };
  Verb verb = Verb::create;
  std::string kind;       // "network", "connector", "relay", "user", "group", "resource"
  std::string name;
  std::string detail;     // for update: "address nas.home.int -> nas2.home.int"; otherwise "" or a short description
  bool operator==(const Change&) const = default;
};

// plan returns the changes that turn `now` into `wanted`, in an order that can be carried out: creations from networks
// to resources, then updates, then, with `prune`, removals (what `wanted` does not name) from resources to networks.
// The same state twice gives an empty plan.
std::vector<Change> plan(const DesiredState& now, const DesiredState& wanted, bool prune);
std::string to_string(
    const Change& c);   // "+ resource NAS (nas.home.int)", "~ group family: …", "- user bob@example.com"

}  // namespace tg
