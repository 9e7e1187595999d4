// What an address that an application talks to stands for.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/address_pool.h"
#include "core/matcher.h"
#include "dns/resolv_conf.h"
#include "net/routes.h"

namespace tg::client {

// Target is where a flow to a captured address goes.
struct Target {
  const Resource* resource = nullptr;   // lives until the Resources change
  std::string host;                     // what the connector is asked for
};

// Targets knows the Resources of the device and the names that addresses were lent to.
class Targets {
 public:
  // Of `range`, addresses that the client itself has or routes are not lent (see own_networks).
  explicit Targets(Cidr range) : pool_(range, own_networks()), matcher_(std::make_shared<Matcher>()) {}

  // own_networks are those of the resolvers, and of the listener with its peers: no name can have an address of them.
  static std::vector<Cidr> own_networks() {
    return {Cidr(IpAddress(dns::kOwnResolvers[0]), 29), net::Routes::Config().peers};
  }

  AddressPool& pool() noexcept { return pool_; }
  const AddressPool& pool() const noexcept { return pool_; }
  const std::shared_ptr<const Matcher>& matcher() const noexcept { return matcher_; }
  void set_matcher(std::shared_ptr<const Matcher> m) { matcher_ = std::move(m); }

  // find returns nothing for an address that stands for nothing (any more).
  std::optional<Target> find(Ipv4 address) const {
    if (pool_.range().contains(address)) {
      const auto name = pool_.name_of(address);
      const Resource* r = name ? matcher_->find(*name) : nullptr;
      if (r == nullptr) return std::nullopt;
      return Target{r, target_host(*r, *name)};
    }
    const Resource* r = matcher_->find(IpAddress(address));
    if (r == nullptr) return std::nullopt;
    return Target{r, IpAddress(address).to_string()};
  }

 private:
  AddressPool pool_;
  std::shared_ptr<const Matcher> matcher_;
};

}  // namespace tg::client
