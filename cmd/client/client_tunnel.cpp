#include "cmd/client/client_tunnel.h"

#include "core/result.h"

namespace tg::client {

Stream::~Stream() {
  if (waiting_ != nullptr) *waiting_ = false;
  if (tunnel_ != nullptr) tunnel_->forget(*this);
}

net::TunnelLink& Stream::link() const noexcept {
  TG_CHECK(tunnel_ != nullptr);
  return tunnel_->link();
}

ClientTunnel::ClientTunnel(net::Loop& loop, net::Fd fd, const net::TlsContext& context, std::string server_name,
                           std::string expect_uri, Path path, Callbacks callbacks)
    : path_(std::move(path)),
      callbacks_(std::make_shared<Callbacks>(std::move(callbacks))),
      give_up_(loop, [this] {
        for (const Pending& p : take_pending()) p.user->on_end(Code::host_unreachable);
      }),
      link_(loop, std::move(fd), context, Tunnel::Side::client, *this,
            {[this] { std::shared_ptr(callbacks_)->on_open(); },
             [this](const Error& e) {
               end_all(Code::host_unreachable, false);
               std::shared_ptr(callbacks_)->on_close(e);   // destroys this
             },
             [this](bool silent) { silence(silent); },
             [this] {
               if (const auto calls = callbacks_; calls->on_asked) calls->on_asked();
             }},
            std::move(server_name), std::move(expect_uri), std::chrono::seconds(3)) {}

ClientTunnel::~ClientTunnel() { end_all(Code::host_unreachable, true); }

void ClientTunnel::end_all(Code code, bool pending_too) {
  for (auto it = users_.begin(); it != users_.end();) {
    if (it->second.pending && !pending_too) {
      ++it;
      continue;
    }
    Stream* user = it->second.user;
    erase(it);
    user->tunnel_ = nullptr;
    user->on_end(code);
    it = users_.begin();   // it may have ended others
  }
}

void ClientTunnel::silence(bool silent) {
  if (silent) give_up_.after(kPendingPatience);
  else give_up_.cancel();
  if (const auto calls = callbacks_; calls->on_silence) calls->on_silence(silent);
}

void ClientTunnel::idle() {
  if (const auto calls = callbacks_; users_.empty() && calls->on_idle) calls->on_idle();
}

std::vector<ClientTunnel::Pending> ClientTunnel::take_pending() {
  std::vector<Pending> out;
  for (auto it = users_.begin(); it != users_.end();) {
    if (!it->second.pending) {
      ++it;
      continue;
    }
    link_.tunnel().reset(it->first, Code::none);
    it->second.user->tunnel_ = nullptr;
    out.push_back({std::move(*it->second.pending), it->second.user});
    it = erase(it);
  }
  if (!out.empty()) link_.kick();
  idle();
  return out;
}

Lanes::Load ClientTunnel::load() {
  const Instant now = net::Loop::now();
  return {users_.size(), lasting_.all(), lasting_.count(now), bulk_.at(now)};
}

void ClientTunnel::carried(std::size_t piece) {
  if (piece < Lanes::kBulk) return;
  const Instant now = net::Loop::now();
  const bool was_busy = bulk_.at(now) >= Lanes::kBusy;
  bulk_.add(piece, now);
  const bool busy = bulk_.at(now) >= Lanes::kBusy;
  if (const auto calls = callbacks_; busy && !was_busy && calls->on_busy) calls->on_busy();
}

ClientTunnel::Users::iterator ClientTunnel::erase(Users::iterator it) noexcept {
  lasting_.ended(it->first);
  return users_.erase(it);
}

void ClientTunnel::begin(StreamId id, Use use, bool flow) {
  Stream& user = *use.user;
  user.tunnel_ = this;
  user.id_ = id;
  users_[id] = std::move(use);
  if (flow) lasting_.began(id, net::Loop::now());
  link_.kick();
  user.on_begun();
}

Result<> ClientTunnel::open(const OpenRequest& request, Stream& user) {
  const auto id = link_.tunnel().open(request);
  if (!id) return tl::unexpected(id.error());
  begin(*id, {&user, std::make_unique<OpenRequest>(request)}, request.protocol != Protocol::icmp);
  return {};
}

Result<> ClientTunnel::query(const Query& query, Stream& user) {
  const auto id = link_.tunnel().query(query);
  if (!id) return tl::unexpected(id.error());
  begin(*id, {&user, nullptr}, false);
  return {};
}

// Called when the user goes away first. A stream that has ended both ways is unknown to the Tunnel, and the reset nothing.
void ClientTunnel::forget(Stream& user) {
  if (const auto it = users_.find(user.id_); it != users_.end()) erase(it);
  user.tunnel_ = nullptr;
  link_.tunnel().reset(user.id_, Code::none);
  link_.kick();
  idle();
}

Stream* ClientTunnel::find(StreamId id) const {
  const auto it = users_.find(id);
  return it == users_.end() ? nullptr : it->second.user;
}

ClientTunnel::Use ClientTunnel::take(StreamId id) {
  const auto it = users_.find(id);
  if (it == users_.end()) return {};
  Use use = std::move(it->second);
  erase(it);
  use.user->tunnel_ = nullptr;
  return use;
}

void ClientTunnel::on_opened(StreamId id) {
  const auto it = users_.find(id);
  if (it == users_.end()) return;
  if (it->second.pending && it->second.pending->protocol != Protocol::icmp) it->second.pending.reset();
  it->second.user->moves_ = 0;
  it->second.user->on_opened();
}
void ClientTunnel::on_data(StreamId id, Bytes data) {
  carried(data.size());
  if (Stream* s = find(id)) s->on_data(data);
}
void ClientTunnel::on_fin(StreamId id) {
  if (Stream* s = find(id)) s->on_fin();
}
void ClientTunnel::on_datagram(StreamId id, Bytes datagram) {
  if (Stream* s = find(id)) s->on_datagram(datagram);
}
void ClientTunnel::on_echo(StreamId id, const Echo& echo) {
  if (Stream* s = find(id)) s->on_echo(echo);
}
Pull ClientTunnel::pull(StreamId id, MutBytes out) {
  Stream* s = find(id);
  if (s == nullptr) return {};
  const Pull pulled = s->pull(out);
  carried(pulled.size);
  return pulled;
}

void ClientTunnel::on_answer(StreamId id, std::uint8_t rcode, Bytes records) {
  const Use use = take(id);
  if (use.user == nullptr) return;
  use.user->on_answer(rcode, records);
  idle();
}

void ClientTunnel::on_reset(StreamId id, Code code) {
  Use use = take(id);
  if (use.user == nullptr) return;
  const auto calls = callbacks_;
  if (code == Code::shutting_down && use.pending && calls->on_orphan) calls->on_orphan({std::move(*use.pending), use.user});
  else use.user->on_end(code);
  idle();
}

void ClientTunnel::on_goaway(Code) { std::shared_ptr(callbacks_)->on_goaway(); }

void ClientTunnel::set_callbacks(Callbacks callbacks) { callbacks_ = std::make_shared<Callbacks>(std::move(callbacks)); }

}  // namespace tg::client
