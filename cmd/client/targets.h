// What an address that an application talks to stands for.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/address_pool.h"
#include "core/matcher.h"
#include "core/view.h"
#include "dns/resolv_conf.h"
#include "net/loop.h"
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
  // set_matcher replaces the Resources. Addresses that belong to one of them are lent to names no longer.
  void set_matcher(std::shared_ptr<const Matcher> m) {
    matcher_ = std::move(m);
    std::vector<Cidr> networks;
    for (const Resource& r : matcher_->resources()) {
      if (r.address.kind() != Address::Kind::network) continue;
      if (r.address.network().overlaps(pool_.range())) networks.push_back(r.address.network());
    }
    pool_.keep_out(std::move(networks));
  }

  // name_at returns the name that `address` stands for. That of a name whose Resource is gone goes to the Resource of
  // the address, if there is one, as soon as nobody can know it any more.
  std::optional<std::string_view> name_at(Ipv4 address, Instant now = net::Loop::now()) const {
    const auto name = pool_.name_of(address);
    if (!name || matcher_->find(*name) != nullptr || pool_.held(address, now)) return name;
    return matcher_->find(IpAddress(address)) != nullptr ? std::nullopt : name;
  }

  // find returns nothing for an address that stands for nothing (any more).
  std::optional<Target> find(Ipv4 address, Instant now = net::Loop::now()) const {
    const auto name = name_at(address, now);
    const Resource* r = name ? matcher_->find(*name) : matcher_->find(IpAddress(address));
    if (r == nullptr) return std::nullopt;
    return Target{r, name ? target_host(*r, *name) : IpAddress(address).to_string()};
  }

  // What policies still want of this device, whether its user has to sign in before anything is reached, or is a service, which cannot.
  void set_access(AccessList access, bool sign_in, bool service) {
    access_ = std::move(access);
    sign_in_ = sign_in;
    service_ = service;
    std::erase_if(wanted_, [&](const auto& one) { return ready(one.first); });
  }
  const ResourceAccess& access(ResourceId id) const {
    static const ResourceAccess kReady, kSignIn{Need::sign_in, {}, UnixTime::max(), false, {}};
    const auto found = access_.find(id);
    return sign_in_ ? kSignIn : found == access_.end() ? kReady : found->second;
  }
  // missing says to a person what a Resource still needs; "" for nothing.
  std::string missing(const Resource& r) const { return what_is_missing(access(r.id), r.name, service_); }
  bool ready(ResourceId id) const { return access(id).need == Need::nothing; }
  // use says whether an application may use a Resource now, and remembers when one could not.
  bool use(const Resource& r, Instant now) {
    if (ready(r.id)) return true;
    wanted_[r.id] = now;
    return false;
  }
  // wanted returns the Resources that are not ready, and that an application would have used since.
  std::vector<ResourceId> wanted(Instant since) const {
    std::vector<ResourceId> out;
    for (const auto& [id, when] : wanted_) {
      if (when >= since) out.push_back(id);
    }
    return out;
  }

  // problem says why names get no address; "" when they do.
  std::string problem() const {
    if (pool_.capacity() > 0) return "";
    return "every address of the range " + pool_.range().to_string() +
           " belongs to an address Resource: new names get none; choose another range with --range";
  }

 private:
  AddressPool pool_;
  std::shared_ptr<const Matcher> matcher_;
  AccessList access_;
  bool sign_in_ = false, service_ = false;
  std::map<ResourceId, Instant> wanted_;
};

}  // namespace tg::client
