#include "cmd/client/system.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "dns/resolv_conf.h"
#include "net/collisions.h"
#include "net/files.h"
#include "net/log.h"
#include "net/return_path.h"

namespace tg::client {
namespace {

net::Routes::Config routes_config(int index, const std::string& name = "tg0") {
  net::Routes::Config config;
  config.index = index;
  config.name = name;
  config.address = kOwnAddress;
  config.resolvers.assign(dns::kOwnResolvers.begin(), dns::kOwnResolvers.end());
  return config;
}

constexpr int kBacklog = 4096;

// What must not belong to somebody else.
std::vector<Cidr> own_ranges(const Cidr& range) {
  return {range, routes_config(0).peers, Cidr(IpAddress(dns::kOwnResolvers[0]), 29)};
}

Result<> check_collisions(const Cidr& range) {
  auto found = net::host_collisions(own_ranges(range), routes_config(0).table);
  if (!found) return pass_on(found);
  if (found->told.empty()) return {};
  return fail(Errc::conflict, fmt::format("{}; choose another range with --range, or remove the other network", found->told.front()));
}

}  // namespace

Result<> System::repair(const std::string& state) {
  // While the interface is there, another client with another state directory is alive: the rule is its own.
  auto netlink = net::Netlink::open();
  if (!netlink) return pass_on(netlink);
  const auto addresses = netlink->addresses();
  const bool in_use = addresses && std::any_of(addresses->begin(), addresses->end(),
                                               [](const net::LinkAddress& a) { return a.address == IpAddress(kOwnAddress); });
  const net::Routes::Config config = routes_config(0);
  if (!in_use) {
    if (auto removed = net::remove_left_over(config); !removed) return removed;
  }
  auto restored = net::ResolvConfFile(kResolvConf, state).restore();
  if (!restored) return pass_on(restored);
  return {};
}

System::System(Config config, net::Tun tun, net::Routes routes)
    : config_(std::move(config)), tun_(std::move(tun)), routes_(std::move(routes)), resolv_conf_(kResolvConf, config_.state) {}

System::~System() { tear_down(); }

Result<std::unique_ptr<System>> System::set_up(const Config& config) {
  if (auto repaired = repair(config.state); !repaired) return pass_on(repaired);
  if (auto free = check_collisions(config.range); !free) return pass_on(free);
  net::Tun::Options options;
  options.name = config.interface;
  auto tun = net::Tun::open(options);
  if (!tun) return pass_on(tun);
  auto routes = net::Routes::install(routes_config(tun->index(), tun->name()));
  if (!routes) return pass_on(routes);
  std::unique_ptr<System> system(new System(config, std::move(*tun), std::move(*routes)));
  if (auto captured = system->capture({}, {}); !captured) return pass_on(captured);
  return system;
}

Result<System::Listener> System::listen() {
  auto fd = net::tcp_listen({kOwnAddress, 0}, kBacklog);
  if (!fd) return pass_on(fd);
  Listener out{.fd = std::move(*fd)};
  if (config_.capture == kCaptureRewrite) return out;
  auto done = split(out.fd.get());
  if (!done && config_.capture == kCaptureSplit) return pass_on(done);
  out.split = done.has_value();
  if (!done) out.why_not = done.error().text;
  return out;
}

Result<> System::split(int listener) {
  if (auto done = net::set_transparent(listener); !done) return done;
  const Endpoint at = net::local_endpoint(listener);
  auto filter = net::SplitFilter::install(tun_.name(), {at.address.v4(), at.port});
  if (!filter) return pass_on(filter);
  if (auto done = routes_.turn_round(); !done) return done;
  filter_ = std::move(*filter);
  return {};
}

Result<> System::capture(const std::vector<Cidr>& resources, const std::vector<Ipv4>& own) {
  if (down_) return {};
  std::vector<Cidr> all{config_.range};
  for (const Cidr& c : resources) {
    if (c.base().is_v4()) all.push_back(c);
  }
  std::vector<Ipv4> except;
  if (net::checks_return_paths(tun_.name())) {
    std::copy_if(own.begin(), own.end(), std::back_inserter(except), [&](Ipv4 a) {
      return std::any_of(all.begin(), all.end(), [&](const Cidr& c) { return c.contains(a); });
    });
  }
  return routes_.capture(all, except);
}

Result<std::vector<std::string>> System::mend(bool& new_tun) {
  new_tun = false;
  if (down_) return std::vector<std::string>{};
  auto mended = routes_.mend();
  if (mended || mended.error().code != Errc::not_found) return mended;
  auto tun = net::Tun::open({.name = config_.interface});
  if (!tun) return pass_on(tun);
  tun_ = std::move(*tun);
  new_tun = true;
  routes_.set_index(tun_.index());
  mended = routes_.mend();
  if (!mended) return mended;
  return std::vector<std::string>{"the interface " + tun_.name()};
}

Result<net::Collisions> System::collisions(const std::vector<Cidr>& resources) const {
  std::vector<Cidr> all = own_ranges(config_.range);
  std::copy_if(resources.begin(), resources.end(), std::back_inserter(all),
               [](const Cidr& c) { return c.base().is_v4() && c.prefix() >= net::kDefaultLike; });
  return net::host_collisions(all, routes_config(0).table, tun_.index());
}

std::vector<std::string> System::unusable_dns() const {
  const auto conf = dns::ResolvConf::parse(resolv_conf_.original().value_or(""));
  std::vector<std::string> out;
  if (!conf.servers().empty()) return out;
  for (const auto& server : conf.nameservers) {
    if (!server.address) out.push_back(server.text);
  }
  return out;
}

Result<bool> System::take_dns() {
  if (down_) return false;
  const auto holds = resolv_conf_.holds();
  if (!holds) return tl::unexpected(holds.error());
  if (*holds) return false;
  // When somebody has written the file since we took it, what they wrote is the system's configuration now.
  auto text = net::read_file(kResolvConf);
  if (!text && text.error().code != Errc::not_found) return pass_on(text);
  const std::string now = text.value_or("");
  const std::string base = dns::is_ours(now) ? resolv_conf_.original().value_or("") : now;
  if (auto taken = resolv_conf_.take(dns::replacement(dns::ResolvConf::parse(base))); !taken) return pass_on(taken);
  return true;
}

void System::tear_down() {
  if (down_) return;
  down_ = true;
  const auto restored = resolv_conf_.restore();
  if (!restored) net::log(net::Level::error, "{}", restored.error().text);
  filter_.reset();
  if (auto removed = routes_.remove(); !removed) net::log(net::Level::error, "{}", removed.error().text);
}

}  // namespace tg::client
