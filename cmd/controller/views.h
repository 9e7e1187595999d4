// What each agent is told, computed from what the controller knows. Pure.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "cmd/controller/leases.h"
#include "cmd/controller/model.h"
#include "core/view.h"

namespace tg::controller {

// Directory is a Model with the look-ups that views need. It does not change. Not thread-safe.
class Directory {
 public:
  // `before`: the one that this one takes the place of, whose items are taken over where nothing has changed.
  explicit Directory(Model model, const Directory* before = nullptr);
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  const Model& model() const noexcept { return model_; }
  // reach returns the Resources that the groups of a user reach, by name or by claim, sorted by id. Users with the same groups share one
  // list, made when it is first asked for.
  const std::vector<const ResourceRecord*>& reach(const std::string& user) const { return reach_by(groups_of_, user); }
  // would_reach returns those that signing in would give, as far as is known from the last time.
  const std::vector<const ResourceRecord*>& would_reach(const std::string& user) const { return reach_by(once_groups_of_, user); }
  const std::vector<const ConnectorRecord*>& connectors(const std::string& network) const;
  const std::vector<const ResourceRecord*>& resources(const std::string& network) const;
  // item is what agents are told of a Resource of this Directory: the same for all.
  const std::shared_ptr<const Json>& item(const ResourceRecord& r) const {
    return items_[static_cast<std::size_t>(&r - model_.resources.data())];
  }
  // generation is that of the grants which a device gets now.
  Generation generation(const std::string& device) const;

 private:
  template <class T>
  using Lists = std::unordered_map<std::string, std::vector<const T*>>;
  using Groups = std::unordered_map<std::string, std::vector<std::string>>;   // by member, in the model's order
  const std::vector<const ResourceRecord*>& reach_by(const Groups& groups_of, const std::string& user) const;

  Model model_;
  std::vector<std::shared_ptr<const Json>> items_;   // of model_.resources
  Lists<ResourceRecord> of_group_;
  Groups groups_of_, once_groups_of_;
  mutable std::map<std::vector<std::string>, std::vector<const ResourceRecord*>> reach_;   // by groups
  Lists<ResourceRecord> resources_;
  Lists<ConnectorRecord> connectors_;
  std::unordered_map<std::string, Generation> generations_;
};

// Presence is which connectors have a control stream now, and where each listens ("IP:PORT", best first).
using Presence = std::map<std::string, std::vector<std::string>>;

// RelayPlace is a relay that agents may use.
struct RelayPlace {
  std::string id;         // what its ticket key is derived from
  std::string address;    // "HOST:PORT"
};
inline constexpr const char* kEmbeddedRelay = "controller";   // the id of the controller's own
// relays_in_use returns the embedded relay, when its address is not empty, and those that have been let in
// (but for one that claims the embedded one's address).
std::vector<RelayPlace> relays_in_use(const Model& model, const std::string& embedded);

// device_items renews in `leases` what has to be. A device that is not in the directory, or blocked, has an empty view; one whose
// user has to sign in knows its Resources, and is granted none.
SharedView device_items(const Directory& directory, const Presence& presence, const std::vector<RelayPlace>& relays,
                        const LeaseKeys& keys, const std::string& device, Leases& leases, UnixTime now);

SharedView relay_items(const Directory& directory, const LeaseKeys& keys, const std::string& relay);

SharedView connector_items(const Directory& directory, const std::vector<RelayPlace>& relays, const LeaseKeys& keys,
                           const std::string& connector, std::chrono::seconds grace);

}  // namespace tg::controller
