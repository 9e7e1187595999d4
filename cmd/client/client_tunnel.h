// One tunnel to one connector, over one path.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "cmd/client/stream.h"
#include "core/lanes.h"
#include "net/tunnel_link.h"

namespace tg::client {

// ClientTunnel hands the events of its streams to their owners. A stream is *pending* while it may be begun anew elsewhere
// without anybody noticing: a TCP or UDP flow until OPENED has come, pings always.
class ClientTunnel final : public TunnelHandler {
 public:
  // Pending is such a stream, taken out: its owner waits for on_begun() or on_end().
  struct Pending {
    OpenRequest request;
    Stream* user = nullptr;
  };
  struct Callbacks {
    std::function<void()> on_open = {};
    // All streams but pending ones have been told; take_pending() may be called; destroys this.
    std::function<void(const Error&)> on_close = {};
    std::function<void()> on_goaway = {};             // no new streams are taken
    std::function<void()> on_idle = {};               // the last stream is gone
    std::function<void()> on_busy = {};               // see Lanes::Load; no stream may be begun or ended from there
    std::function<void(bool silent)> on_silence = {};   // see Tunnel::silent
    std::function<void()> on_asked = {};              // see Tunnel::asked
    std::function<void(Pending)> on_orphan = {};      // the connector never took it up, and says goodbye
  };
  struct Path {
    bool direct = false;
    std::string address;                           // "HOST:PORT"
    std::string relay = {};                        // its id; "" for a direct path
  };

  ClientTunnel(net::Loop& loop, net::Fd fd, const net::TlsContext& context, std::string server_name, std::string expect_uri,
               Path path, Callbacks callbacks);
  ~ClientTunnel() override;

  // open and query begin a stream for `user`. Errors: as Tunnel::open.
  Result<> open(const OpenRequest& request, Stream& user);
  Result<> query(const Query& query, Stream& user);

  // take_pending gives up the pending streams here, so that they can be begun on another tunnel.
  std::vector<Pending> take_pending();
  // The pending streams end with host_unreachable when the tunnel is silent for so long after it was suspected.
  static constexpr Duration kPendingPatience = std::chrono::seconds(8);

  // set_callbacks hands the tunnel to another owner. May be called from a callback.
  void set_callbacks(Callbacks callbacks);

  net::TunnelLink& link() noexcept { return link_; }
  const Path& path() const noexcept { return path_; }
  std::size_t streams() const noexcept { return users_.size(); }
  // load says what a new stream would be beside. Flows are streams of TCP and UDP.
  Lanes::Load load();

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
  struct Use {
    Stream* user = nullptr;
    std::unique_ptr<OpenRequest> pending;    // what was asked for, as long as it may be asked again
  };
  using Users = std::unordered_map<StreamId, Use>;
  void begin(StreamId id, Use use, bool flow);
  Users::iterator erase(Users::iterator it) noexcept;
  void carried(std::size_t piece);
  void forget(Stream& user);
  Stream* find(StreamId id) const;
  Use take(StreamId id);
  void end_all(Code code, bool pending_too);
  void silence(bool silent);
  void idle();

  Path path_;
  std::shared_ptr<Callbacks> callbacks_;
  Users users_;
  LastingFlows lasting_;
  RecentBytes bulk_;
  net::Timer give_up_;
  net::TunnelLink link_;
};

}  // namespace tg::client
