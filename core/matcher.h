// Which Resource a name or an address belongs to.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/resource.h"

namespace tg {

// Matcher finds the one Resource that a host belongs to. The order is a contract: single IP over smaller CIDR over
// larger; exact name over wildcard; more literal characters over fewer; then the smaller id. The winner's rules decide
// alone: nobody falls through to a broader Resource. An alias is an exact name where the address is one host, and is
// otherwise ignored. Two Resources of one id: the first counts. Immutable once built. No I/O. Safe to read from several
// threads.
class Matcher {
 public:
  Matcher();
  explicit Matcher(std::vector<Resource> resources);
  ~Matcher();
  Matcher(Matcher&&) noexcept;
  Matcher& operator=(Matcher&&) noexcept;

  // find returns the winner, or null. `name` is canonical. The pointer lives as long as this Matcher.
  // Cost: a hash look-up a label suffix, or a prefix length, independent of the number of Resources; and a comparison for each
  // wildcard that differs from others only between its first and its last * or ?.
  const Resource* find(std::string_view name) const;
  const Resource* find(const IpAddress& ip) const;
  const Resource* find(const Host& host) const;
  const Resource* find(const std::string& name) const { return find(std::string_view(name)); }
  const Resource* find(const char* name) const { return find(std::string_view(name)); }

  // candidates returns every Resource that matches, the winner first and the others in the order in which they would
  // win: for `explain`. May be linear in the number of Resources.
  std::vector<const Resource*> candidates(const Host& host) const;

  const Resource* by_id(ResourceId id) const;
  std::span<const Resource> resources() const noexcept;   // sorted by id

 private:
  struct Index;
  std::unique_ptr<Index> index_;
};

// granted_winner returns the Resource that a host belongs to among those that `granted` says yes to: what somebody does not
// reach takes nothing from what he does. Null when there is none.
template <class Granted>
const Resource* granted_winner(const Matcher& matcher, const Host& host, const Granted& granted) {
  const Resource* first = matcher.find(host);
  if (first == nullptr || granted(*first)) return first;
  for (const Resource* r : matcher.candidates(host)) {
    if (granted(*r)) return r;
  }
  return nullptr;
}

// target_host returns what a connector is asked for when `name` (canonical) was reached through `r`: the Resource's own
// address when `name` is its alias, otherwise `name` itself.
std::string target_host(const Resource& r, std::string_view name);

}  // namespace tg
