// One tunnel to one connector, over one path.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "cmd/client/stream.h"
#include "net/tunnel_link.h"

namespace tg::client {

class ClientTunnel final : public TunnelHandler {
 public:
  struct Callbacks {
    std::function<void()> on_open;
    std::function<void(const Error&)> on_close;    // every stream has been told before; destroys this
    std::function<void()> on_goaway;
    std::function<void()> on_idle;                 // the last stream is gone
  };
  struct Path {
    bool direct = false;
    std::string address;                           // "HOST:PORT"
  };

  ClientTunnel(net::Loop& loop, net::Fd fd, const net::TlsContext& context, std::string server_name, std::string expect_uri,
               Path path, Callbacks callbacks);
  ~ClientTunnel() override;

  // open and query begin a stream for `user`. Errors: as Tunnel::open.
  Result<> open(const OpenRequest& request, Stream& user);
  Result<> query(const Query& query, Stream& user);

  // set_callbacks hands the tunnel to another owner. May be called from a callback.
  void set_callbacks(Callbacks callbacks);

  net::TunnelLink& link() noexcept { return link_; }
  const Path& path() const noexcept { return path_; }
  std::size_t streams() const noexcept { return users_.size(); }

  void on_opened(StreamId id) override;
  void on_answer(StreamId id, std::uint8_t rcode, Bytes records) override;
  void on_data(StreamId id, Bytes data) override;
  void on_fin(StreamId id) override;
  void on_datagram(StreamId id, Bytes datagram) override;
  void on_echo(StreamId id, const Echo& echo) override;
  void on_reset(StreamId id, Code code) override;
  void on_goaway(Code code) override;
  Pull pull(StreamId id, MutBytes out) override;
  void on_grant(std::string_view) override {}
  void on_open(StreamId, const OpenRequest&) override {}
  void on_query(StreamId, const Query&) override {}

 private:
  friend class Stream;
  void begin(StreamId id, Stream& user);
  void forget(Stream& user);
  Stream* find(StreamId id) const;
  void end_all(Code code);

  Path path_;
  std::shared_ptr<Callbacks> callbacks_;
  std::unordered_map<StreamId, Stream*> users_;
  net::TunnelLink link_;
};

}  // namespace tg::client
