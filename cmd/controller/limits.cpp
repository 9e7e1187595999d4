#include "cmd/controller/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "core/frame.h"
#include "core/json.h"
#include "core/text.h"
#include "core/view.h"

namespace tg::controller {
namespace {

// An id of eight digits and a comma, in base64, beside the claims that every grant has.
static_assert((kGrantResourcesMax * 9 + kGrantEndsMost * 16) * 4 / 3 + 2048 <= kGrantMax);
static_assert(kStateMax <= kControlFrameMax / 4 * 3);

constexpr std::size_t kEntry = 300;          // keys, punctuation, numbers and times of an entry
constexpr std::size_t kConnectorRow = 2048;  // with its direct addresses
constexpr std::size_t kTicketMax = 100;      // each connector has one for each relay

// Quotes and backslashes double in JSON; names have no control characters.
std::size_t text(std::string_view s) {
  return s.size() + 4 + static_cast<std::size_t>(std::count_if(s.begin(), s.end(), [](char c) {
           return c == '"' || c == '\\';
         }));
}

std::size_t texts(const std::vector<std::string>& all) {
  std::size_t sum = 0;
  for (const std::string& s : all) sum += text(s);
  return sum;
}

// In a list, a group has the names of its Resources, and a user those of his groups.
std::size_t measure(const DesiredState& state) {
  std::size_t sum = 0;
  for (const NetworkSpec& n : state.networks) sum += kEntry + text(n.name);
  for (const ConnectorSpec& c : state.connectors) sum += kConnectorRow + text(c.name) + text(c.network);
  for (const RelaySpec& r : state.relays) {
    sum += kEntry + text(r.name) + state.connectors.size() * (text(r.address) + kTicketMax);
  }
  for (const IdentityProviderSpec& p : state.identity_providers) {
    sum += kEntry + text(p.name) + text(p.issuer) + text(p.client_id) + text(p.email_claim) + text(p.groups_claim) +
           texts(p.scopes) + texts(p.domains) + texts(p.mfa_contexts);
  }
  for (const PolicySpec& p : state.policies) sum += 2 * kEntry + text(p.name) + text(p.time_zone);
  for (const UserSpec& u : state.users) sum += kEntry + text(u.email);
  for (const ServiceSpec& s : state.services) sum += kEntry + text(s.name);
  for (const GroupSpec& g : state.groups) {
    sum += kEntry + text(g.name) + text(g.policy) + texts(g.members) + g.members.size() * text(g.name);
    for (const Claim& c : g.claims) sum += text(c.provider) + text(c.value);
  }
  for (const ResourceSpec& r : state.resources) {
    const std::size_t rules = r.protocols.tcp.to_string().size() + r.protocols.udp.to_string().size();
    sum += kEntry / 2 + text(r.name) + text(r.policy) + text(r.network) + text(r.address.text()) + text(r.alias) + 3 * rules +
           texts(r.groups) + r.groups.size() * text(r.name);
  }
  return sum;
}

// Reach counts what users may reach. Users with the same groups reach the same.
class Reach {
 public:
  explicit Reach(const DesiredState& state)
      : state_(state), of_group_(state.groups.size()), groups_of_(groups_of(state)) {
    std::unordered_map<std::string_view, std::size_t> groups;
    for (std::size_t i = 0; i < state.groups.size(); ++i) groups.emplace(state.groups[i].name, i);
    for (std::size_t r = 0; r < state.resources.size(); ++r) {
      for (const std::string& group : state.resources[r].groups) {
        if (const auto at = groups.find(group); at != groups.end()) of_group_[at->second].push_back(r);
      }
    }
  }

  Result<> check() const {
    std::map<std::vector<std::size_t>, bool> seen;
    for (const auto& [user, groups] : groups_of_) {
      if (!seen.emplace(groups, true).second) continue;
      std::size_t most = 0;   // when no Resource is counted twice
      for (const std::size_t g : groups) most += of_group_[g].size();
      if (most <= kGrantResourcesMax) continue;
      for (const auto& [network, count] : counts(groups)) {
        if (count <= kGrantResourcesMax) continue;
        return fail(Errc::exhausted,
                    fmt::format("user {} would reach {} resources of network {}, and {} is the most; use wildcards and "
                                "CIDRs, or several networks", printable(user), count, printable(network),
                                kGrantResourcesMax));
      }
    }
    return {};
  }

 private:
  std::map<std::string_view, std::size_t> counts(const std::vector<std::size_t>& groups) const {
    std::vector<bool> reached(state_.resources.size());
    for (const std::size_t g : groups) {
      for (const std::size_t r : of_group_[g]) reached[r] = true;
    }
    std::map<std::string_view, std::size_t> out;
    for (std::size_t r = 0; r < reached.size(); ++r) {
      if (reached[r]) ++out[state_.resources[r].network];
    }
    return out;
  }

  const DesiredState& state_;
  std::vector<std::vector<std::size_t>> of_group_;                         // Resources
  std::map<std::string, std::vector<std::size_t>> groups_of_;              // by user
};

}  // namespace

Result<> check_limits(const DesiredState& state) {
  if (state.relays.size() >= kRelaysMax) {   // and the embedded one
    return fail(Errc::exhausted, fmt::format("{} relays are too many; {} is the most", state.relays.size(), kRelaysMax - 1));
  }
  for (const ResourceSpec& r : state.resources) {
    const std::size_t ranges = std::max(r.protocols.tcp.ranges().size(), r.protocols.udp.ranges().size());
    if (ranges <= Fields::kListMax) continue;
    return fail(Errc::exhausted, fmt::format("resource {} has {} ranges of ports; {} is the most", printable(r.name), ranges,
                                             Fields::kListMax));
  }
  if (const std::size_t size = measure(state); size > kStateMax) {
    return fail(Errc::exhausted,
                fmt::format("this is more than a controller holds: about {} MiB, and {} MiB is the most; use wildcards "
                            "and CIDRs instead of single hosts", (size >> 20) + 1, kStateMax >> 20));
  }
  return Reach(state).check();
}

}  // namespace tg::controller
