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
      link_(loop, std::move(fd), context, Tunnel::Side::client, *this,
            {[this] { std::shared_ptr(callbacks_)->on_open(); }, [this](const Error& e) {
               end_all(Code::host_unreachable);
               std::shared_ptr(callbacks_)->on_close(e);   // destroys this
             }},
            std::move(server_name), std::move(expect_uri), std::chrono::seconds(3)) {}

ClientTunnel::~ClientTunnel() { end_all(Code::host_unreachable); }

void ClientTunnel::end_all(Code code) {
  while (!users_.empty()) {
    const auto first = users_.begin();
    Stream* user = first->second;
    users_.erase(first);
    user->tunnel_ = nullptr;
    user->on_end(code);
  }
}

void ClientTunnel::begin(StreamId id, Stream& user) {
  user.tunnel_ = this;
  user.id_ = id;
  users_[id] = &user;
  link_.kick();
  user.on_begun();
}

Result<> ClientTunnel::open(const OpenRequest& request, Stream& user) {
  const auto id = link_.tunnel().open(request);
  if (!id) return tl::unexpected(id.error());
  begin(*id, user);
  return {};
}

Result<> ClientTunnel::query(const Query& query, Stream& user) {
  const auto id = link_.tunnel().query(query);
  if (!id) return tl::unexpected(id.error());
  begin(*id, user);
  return {};
}

// Called when the user goes away first. A stream that has ended both ways is unknown to the Tunnel, and the reset nothing.
void ClientTunnel::forget(Stream& user) {
  users_.erase(user.id_);
  user.tunnel_ = nullptr;
  link_.tunnel().reset(user.id_, Code::none);
  link_.kick();
  if (users_.empty() && callbacks_->on_idle) callbacks_->on_idle();
}

Stream* ClientTunnel::find(StreamId id) const {
  const auto it = users_.find(id);
  return it == users_.end() ? nullptr : it->second;
}

void ClientTunnel::on_opened(StreamId id) {
  if (Stream* s = find(id)) s->on_opened();
}
void ClientTunnel::on_data(StreamId id, Bytes data) {
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
  return s != nullptr ? s->pull(out) : Pull{};
}

void ClientTunnel::on_answer(StreamId id, std::uint8_t rcode, Bytes records) {
  Stream* s = find(id);
  if (s == nullptr) return;
  users_.erase(id);
  s->tunnel_ = nullptr;
  s->on_answer(rcode, records);
  if (users_.empty() && callbacks_->on_idle) callbacks_->on_idle();
}

void ClientTunnel::on_reset(StreamId id, Code code) {
  Stream* s = find(id);
  if (s == nullptr) return;
  users_.erase(id);
  s->tunnel_ = nullptr;
  s->on_end(code);
  if (users_.empty() && callbacks_->on_idle) callbacks_->on_idle();
}

void ClientTunnel::on_goaway(Code) { std::shared_ptr(callbacks_)->on_goaway(); }

void ClientTunnel::set_callbacks(Callbacks callbacks) { callbacks_ = std::make_shared<Callbacks>(std::move(callbacks)); }

}  // namespace tg::client
