#include "cmd/client/laned_tunnel.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <iterator>
#include <optional>
#include <utility>

#include "core/json.h"
#include "core/result.h"
#include "net/log.h"

namespace tg::client {

LanedTunnel::LanedTunnel(std::string connector, ClientTunnel::Path path, Callbacks callbacks)
    : connector_(std::move(connector)), path_(std::move(path)), callbacks_(std::move(callbacks)) {}

ClientTunnel& LanedTunnel::at(Name lane) {
  const auto it = std::ranges::find(lanes_, lane, &Lane::name);
  TG_CHECK(it != lanes_.end());
  return *it->tunnel;
}

Lanes::LoadOf LanedTunnel::loads() {
  return [this](Name lane) { return at(lane).load(); };
}

void LanedTunnel::add(std::unique_ptr<ClientTunnel> made, const std::string& grant) {
  const Name lane = ++last_;
  ClientTunnel& tunnel = *made;
  lanes_.push_back({lane, std::move(made)});
  plan_.stood(lane, net::Loop::now());
  ClientTunnel::Callbacks callbacks;
  callbacks.on_close = [this, lane](const Error& e) { lost(lane, e); };
  callbacks.on_goaway = [this, lane] {
    plan_.goodbye(lane, net::Loop::now());
    callbacks_.judge();
  };
  callbacks.on_idle = [this, lane] {
    plan_.idle(lane, net::Loop::now());
    callbacks_.idle();
  };
  callbacks.on_busy = [this] {
    if (plan_.busy(net::Loop::now())) callbacks_.look();
  };
  callbacks.on_silence = [this, lane](bool silent) { silence(lane, silent); };
  callbacks.on_asked = [this, lane] { ask_others(lane); };
  callbacks.on_orphan = [this](ClientTunnel::Pending p) { callbacks_.reopen(std::move(p)); };
  tunnel.set_callbacks(std::move(callbacks));
  if (!grant.empty()) tunnel.link().tunnel().send_grant(grant);
  tunnel.link().kick();
}

ClientTunnel* LanedTunnel::choose() {
  const auto lane = plan_.choose(loads());
  return lane ? &at(*lane) : nullptr;
}

Result<> LanedTunnel::open(const OpenRequest& request, Stream& user) {
  ClientTunnel* lane = choose();
  if (lane == nullptr) return fail(Errc::unreachable, "there is no tunnel");
  if (auto begun = lane->open(request, user); !begun) return begun;
  if (request.protocol != Protocol::icmp && plan_.began(net::Loop::now())) callbacks_.look();
  return {};
}

Result<> LanedTunnel::query(const Query& query, Stream& user) {
  ClientTunnel* lane = choose();
  if (lane == nullptr) return fail(Errc::unreachable, "there is no tunnel");
  return lane->query(query, user);
}

std::size_t LanedTunnel::streams() const {
  std::size_t n = 0;
  for (const Lane& l : lanes_) n += l.tunnel->streams();
  return n;
}

void LanedTunnel::set_grant(const std::string& grant) {
  for (const Lane& l : lanes_) {
    l.tunnel->link().tunnel().send_grant(grant);
    l.tunnel->link().kick();
  }
}

void LanedTunnel::network_changed() {
  for (const Lane& l : lanes_) l.tunnel->link().probe();
  plan_.forget_dial();
}

void LanedTunnel::close() {
  closed_ = true;
  for (const Lane& l : lanes_) l.tunnel->link().close(Code::shutting_down);
}

std::vector<ClientTunnel::Pending> LanedTunnel::take_pending() {
  std::vector<ClientTunnel::Pending> pending;
  for (const Lane& l : lanes_) std::ranges::move(l.tunnel->take_pending(), std::back_inserter(pending));
  return pending;
}

std::vector<ClientTunnel::Pending> LanedTunnel::take_pending_of_silent() {
  std::vector<ClientTunnel::Pending> pending;
  for (const Lane& l : lanes_) {
    if (plan_.silent(l.name)) std::ranges::move(l.tunnel->take_pending(), std::back_inserter(pending));
  }
  return pending;
}

bool LanedTunnel::wants_lane() { return plan_.next(loads(), net::Loop::now()); }
void LanedTunnel::lane_failed() { plan_.failed(net::Loop::now()); }

void LanedTunnel::end(Name lane) {
  plan_.ended(lane);
  past_in_ += at(lane).link().bytes_in();
  past_out_ += at(lane).link().bytes_out();
  std::erase_if(lanes_, [&](const Lane& l) { return l.name == lane; });
}

void LanedTunnel::end_spare() {
  while (const auto lane = plan_.spare(loads(), net::Loop::now())) end(*lane);
}

void LanedTunnel::end_idle() {
  const bool was_usable = usable();
  for (std::size_t i = lanes_.size(); i-- > 0 && lanes_.size() > 1;) {
    if (lanes_[i].tunnel->streams() == 0) end(lanes_[i].name);
  }
  if (was_usable && !usable()) callbacks_.judge();
}

void LanedTunnel::silence(Name lane, bool silent) {
  if (closed_) return;
  const bool all = this->silent();
  plan_.silent(lane, silent);
  const Instant since = at(lane).link().tunnel().owed();
  for (const Lane& l : lanes_) {
    if (silent && l.name != lane && !plan_.silent(l.name)) l.tunnel->link().doubt(since);
  }
  if (usable() && !all) {
    net::log(net::Level::info, "connector {}: a lane by {}, of {}, {}", connector_, path_.address, lanes_.size(),
             silent ? "does not answer; new flows take the others" : "answers again");
  }
  callbacks_.judge();
}

// They may go the same dead way, and have said nothing to find out by. When this lane is silent they have had their time, too.
void LanedTunnel::ask_others(Name lane) {
  for (const Lane& l : lanes_) {
    if (l.name != lane) l.tunnel->link().probe();
  }
}

void LanedTunnel::lost(Name lane, const Error& e) {
  if (closed_) return;
  if (lanes_.size() == 1) return std::function(callbacks_.lost)(e);   // destroys this
  net::log(net::Level::info, "connector {}: a lane by {}, of {}, ended: {}", connector_, path_.address, lanes_.size(), e.text);
  auto pending = at(lane).take_pending();
  end(lane);
  callbacks_.judge();
  for (auto& p : pending) callbacks_.reopen(std::move(p));
}

Json LanedTunnel::status() const {
  Json j = {{"path", path_.direct ? "direct" : "relayed"}, {"address", path_.address}, {"flows", streams()}, {"lanes", lanes_.size()}};
  std::optional<Duration> round_trip;
  std::uint64_t in = past_in_, out = past_out_;
  for (const Lane& l : lanes_) {
    const auto one = l.tunnel->link().tunnel().round_trip();
    if (one && (!round_trip || *one < *round_trip)) round_trip = one;
    in += l.tunnel->link().bytes_in();
    out += l.tunnel->link().bytes_out();
  }
  if (round_trip) j["round_trip_ms"] = std::chrono::duration<double, std::milli>(*round_trip).count();
  j["bytes_in"] = in;
  j["bytes_out"] = out;
  return j;
}

}  // namespace tg::client
