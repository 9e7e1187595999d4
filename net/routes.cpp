#include "net/routes.h"

#include <algorithm>

#include <fmt/format.h>

namespace tg::net {
namespace {

constexpr std::uint32_t kRuleOfMain = 32766;

constexpr int kLoopback = 1;   // its index in every network namespace

Result<> remove_ours(Netlink& netlink, const Routes::Config& c) {
  auto rules = netlink.rules();
  if (!rules) return pass_on(rules);
  for (const Rule& r : *rules) {
    const bool ours = (r.priority == c.priority && r.table == c.table) || (r.priority == c.local_table && r.table == c.local_table);
    if (!ours) continue;
    if (auto done = netlink.remove_rule(r); !done) return done;
  }
  auto routes = netlink.routes();
  if (!routes) return pass_on(routes);
  for (const Route& r : *routes) {
    if ((r.table != c.table && r.table != c.local_table) || r.protocol != kOwnProtocol) continue;
    if (auto done = netlink.remove_route(r); !done) return done;
  }
  return {};
}

bool same_place(const Route& a, const Route& b) noexcept { return a.table == b.table && a.to == b.to; }
bool before(const Route& a, const Route& b) noexcept { return a.table != b.table ? a.table < b.table : a.to < b.to; }

}  // namespace

Result<> remove_left_over(const Routes::Config& config) {
  auto netlink = Netlink::open();
  if (!netlink) return pass_on(netlink);
  return remove_ours(*netlink, config);
}

Result<Routes> Routes::install(Config config) {
  if (config.priority == 0 || config.priority >= kRuleOfMain) {
    return fail(Errc::invalid_argument, fmt::format("the routing rule's priority {} must lie between 1 and {}: before main's",
                                                    config.priority, kRuleOfMain - 1));
  }
  if (config.table == 0 || (config.table >= 253 && config.table <= 255)) {
    return fail(Errc::invalid_argument,
                fmt::format("the routing table {} is the system's: choose another", config.table));
  }
  auto netlink = Netlink::open();
  if (!netlink) return pass_on(netlink);
  if (auto clean = remove_ours(*netlink, config); !clean) return pass_on(clean);
  Routes routes(std::move(*netlink), std::move(config));
  routes.installed_ = true;
  if (auto done = routes.put_in(); !done) return pass_on(done);   // the destructor takes out what is in
  return routes;
}

LinkChange Routes::link() const {
  LinkChange change{.mtu = config_.mtu, .queue_length = config_.queue_length, .up = true, .no_ipv6 = true};
  change.name = config_.name;
  if (turns_round_) change.takes_own = true;
  return change;
}

std::vector<Rule> Routes::rules() const {
  std::vector<Rule> out{{config_.priority, config_.table, config_.exempt_mark, true}};
  if (turns_round_) out.push_back({config_.local_table, config_.local_table, config_.local_mark, false});
  return out;
}

std::vector<Ipv4> Routes::addresses() const {
  std::vector<Ipv4> out{config_.address};
  out.insert(out.end(), config_.resolvers.begin(), config_.resolvers.end());
  return out;
}

Result<> Routes::put_in() {
  if (auto done = netlink_.change_link(config_.index, link()); !done) return done;
  for (const Ipv4 a : addresses()) {
    if (auto done = netlink_.add_address({config_.index, a, 32}); !done) return done;
  }
  if (auto done = capture({}); !done) return done;
  return netlink_.add_rule(rules().front());
}

Result<> Routes::turn_round() {
  turns_round_ = true;
  auto done = netlink_.change_link(config_.index, link());
  if (done) done = capture(ranges_, except_);
  if (done) done = netlink_.add_rule(rules().back());
  if (done) return {};
  static_cast<void>(netlink_.remove_rule(rules().back()));
  turns_round_ = false;
  static_cast<void>(capture(ranges_, except_));
  static_cast<void>(netlink_.change_link(config_.index, {.takes_own = false}));
  return done;
}

bool Routes::settings_hold(const Link& link) const { return link.name == config_.name && (!turns_round_ || link.takes_own); }

bool Routes::settings_hold() {
  const auto links = netlink_.links();
  if (!links) return true;   // nothing is known
  const auto on = std::find_if(links->begin(), links->end(), [&](const Link& l) { return l.index == config_.index; });
  return on == links->end() || settings_hold(*on);
}

Result<> Routes::capture(const std::vector<Cidr>& ranges, const std::vector<Ipv4>& except) {
  ranges_ = ranges;
  except_ = except;
  std::vector<Route> wanted;
  for (const Ipv4 a : except) wanted.push_back({Cidr(a, 32), config_.table, Route::Kind::pass});
  const auto lead = [&](const Cidr& to) {
    if (!to.base().is_v4()) return;
    wanted.push_back({to, config_.table, Route::Kind::unicast, config_.index, {}, config_.address});
    if (turns_round_) wanted.push_back({to, config_.local_table, Route::Kind::local, kLoopback});
  };
  lead(config_.peers);
  for (const Cidr& range : ranges) lead(range);
  // Of two routes to one network the first is kept: an exception wins.
  std::stable_sort(wanted.begin(), wanted.end(), before);
  wanted.erase(std::unique(wanted.begin(), wanted.end(), same_place), wanted.end());

  Result<> first;
  std::vector<Route> in;
  const auto note = [&](Result<> r) { if (!r && first) first = std::move(r); return r.has_value(); };
  for (const Route& r : wanted) {
    const auto had = std::lower_bound(routes_.begin(), routes_.end(), r, before);
    const bool same = had != routes_.end() && *had == r;
    if (same || note(netlink_.add_route(r))) in.push_back(r);
  }
  for (const Route& r : routes_) {
    if (std::binary_search(wanted.begin(), wanted.end(), r, before)) continue;
    if (!note(netlink_.remove_route(r))) in.push_back(r);
  }
  std::sort(in.begin(), in.end(), before);
  routes_ = std::move(in);
  return first;
}

Result<std::vector<std::string>> Routes::mend() {
  std::vector<std::string> mended;
  auto links = netlink_.links();
  if (!links) return pass_on(links);
  const auto on = std::find_if(links->begin(), links->end(), [&](const Link& l) { return l.index == config_.index; });
  if (on == links->end()) return fail(Errc::not_found, "the interface is gone");
  if (!on->up || on->mtu != config_.mtu || !settings_hold(*on)) {
    if (auto done = netlink_.change_link(config_.index, link()); !done) return pass_on(done);
    mended.push_back(!on->up                    ? "the interface's being up"
                     : on->mtu != config_.mtu   ? "the MTU"
                     : on->name != config_.name ? "the interface's name"
                                                : "accept_local");
  }
  // In this order: a route wants the interface up, and the address that it names as its source.
  auto there = netlink_.addresses();
  if (!there) return pass_on(there);
  for (const Ipv4 a : addresses()) {
    const auto same = [&](const LinkAddress& l) { return l.index == config_.index && l.address == IpAddress(a); };
    if (std::any_of(there->begin(), there->end(), same)) continue;
    if (auto done = netlink_.add_address({config_.index, a, 32}); !done) return pass_on(done);
    mended.push_back("the address " + IpAddress(a).to_string());
  }
  auto routes = netlink_.routes();
  if (!routes) return pass_on(routes);
  std::size_t missing = 0;
  for (const Route& r : routes_) {
    if (std::find(routes->begin(), routes->end(), r) != routes->end()) continue;
    if (auto done = netlink_.add_route(r); !done) return pass_on(done);
    ++missing;
  }
  if (missing > 0) mended.push_back(missing == 1 ? "a route" : fmt::format("{} routes", missing));
  auto there_are = netlink_.rules();
  if (!there_are) return pass_on(there_are);
  for (const Rule& rule : rules()) {
    if (std::find(there_are->begin(), there_are->end(), rule) != there_are->end()) continue;
    if (auto done = netlink_.add_rule(rule); !done) return pass_on(done);
    mended.push_back("the rule");
  }
  return mended;
}

void Routes::set_index(int index) {
  for (Route& r : routes_) {
    if (r.kind == Route::Kind::unicast) r.index = index;   // and not those by the loopback
  }
  config_.index = index;
}

Result<> Routes::remove() {
  if (!installed_) return {};
  installed_ = false;
  Result<> first = remove_ours(netlink_, config_);
  routes_.clear();
  for (const Ipv4 a : addresses()) {
    auto done = netlink_.remove_address({config_.index, a, 32});
    // The interface may be gone, and everything on it.
    if (!done && done.error().code != Errc::not_found && first) first = std::move(done);
  }
  return first;
}

Routes::~Routes() {
  if (installed_) static_cast<void>(remove());
}

}  // namespace tg::net
