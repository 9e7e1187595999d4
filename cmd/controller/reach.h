// Who may reach what, as far as it matters for revocation.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cmd/controller/database.h"

namespace tg::controller {

// Reach is who may reach what: the part of the state whose shrinking voids grants.
struct Reach {
  using Groups = std::vector<std::int64_t>;                            // sorted
  using Resources = std::vector<std::pair<std::int64_t, std::int64_t>>;   // Resource and Network, sorted

  std::map<std::string, std::int64_t> devices;                         // that are let in (not blocked, signed in), and their users
  std::map<std::int64_t, Groups> groups;                               // of each user
  std::map<std::int64_t, Resources> resources;                         // of each group

  template <class Map>
  static const typename Map::mapped_type& in(const Map& map, std::int64_t key) {
    static const typename Map::mapped_type kNone;
    const auto found = map.find(key);
    return found == map.end() ? kNone : found->second;
  }
};

// read_reach reads it inside the caller's transaction.
Result<Reach> read_reach(Database& db);

// lost returns the devices that reached something before that they do not reach after, or are blocked or gone.
std::vector<std::string> lost(const Reach& before, const Reach& after);

}  // namespace tg::controller
