// Who may reach what, looked up in what the controller knows.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cmd/controller/model.h"
#include "core/access.h"
#include "core/view.h"

namespace tg::controller {

// Reached is a Resource that somebody's groups lead to, and what stands between.
struct Reached {
  const ResourceRecord* resource = nullptr;
  Demands demands;
};

// Circle is what everybody with the same groups reaches, sorted by the Resources' ids.
struct Circle {
  std::vector<Reached> reached;
  bool demanding = false;                 // some of it has demands
  std::shared_ptr<const Items> items;     // what agents are told of these Resources; null when there are none
};

// resource_key is the key of a Resource's item.
std::string resource_key(const Resource& r);

// Directory is a Model with the look-ups that views need. It does not change. Not thread-safe.
class Directory {
 public:
  // `before`: the one that this one takes the place of, whose items are taken over where nothing has changed.
  explicit Directory(Model model, const Directory* before = nullptr);
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  const Model& model() const noexcept { return model_; }
  // set_revocations is for who has made it, before anybody looks.
  void set_revocations(std::vector<Revocation> revocations);
  // reach returns what the groups of a user lead to, by name or by claim: made when it is first asked for, and one for all who have
  // the same groups.
  const Circle& reach(const std::string& user) const { return circle_of(groups_of_, user); }
  // would_reach returns those that signing in would give, as far as is known from the last time.
  const Circle& would_reach(const std::string& user) const { return circle_of(once_groups_of_, user); }
  // access says what a device that is let in still needs for a Resource. `standing`: its own, standing_of.
  Standing standing_of(const DeviceRecord& device) const;
  Access access(const DeviceRecord& device, const Standing& standing, const Reached& reached, Judge& judge) const;
  // asked says whether a user's request for a Resource waits for an answer, and has not waited for too long.
  bool asked(const std::string& user, ResourceId resource, UnixTime now) const;
  // next_change is when time alone changes some of these answers; the maximum for never.
  UnixTime next_change(Judge& judge) const;

  const std::vector<const ConnectorRecord*>& connectors(const std::string& network) const;
  const std::vector<const ResourceRecord*>& resources(const std::string& network) const;
  // item is what agents are told of a Resource of this Directory: the same for all.
  const std::shared_ptr<const std::string>& item(const ResourceRecord& r) const {
    return items_[static_cast<std::size_t>(&r - model_.resources.data())];
  }
  // generation is that of the grants which a device gets now.
  Generation generation(const std::string& device) const;

 private:
  template <class T>
  using Lists = std::unordered_map<std::string, std::vector<const T*>>;
  using Groups = std::unordered_map<std::string, std::vector<const GroupRecord*>>;   // by member, in the model's order
  const Circle& circle_of(const Groups& groups_of, const std::string& user) const;
  const PolicySpec* policy(const std::string& name) const;   // null for ""

  Model model_;
  std::vector<std::shared_ptr<const std::string>> items_;   // of model_.resources
  std::unordered_map<std::string, const PolicySpec*> policies_;
  Lists<ResourceRecord> of_group_;
  Groups groups_of_, once_groups_of_;
  mutable std::map<std::vector<const GroupRecord*>, Circle> circles_;   // by groups
  Lists<ResourceRecord> resources_;
  Lists<ConnectorRecord> connectors_;
  std::unordered_map<std::string, Generation> generations_;
  std::unordered_map<std::string, std::map<ResourceId, Approval>> approved_;   // by user
  std::unordered_map<std::string, std::map<ResourceId, UnixTime>> asked_;      // by user: when
};

// lost returns the devices that reached something before a change that they do not reach after it, or not for as long, or are blocked or
// gone. What time alone ends is no change: grants say when that is.
std::vector<std::string> lost(const Directory& before, const Directory& after, Judge& judge);

}  // namespace tg::controller
