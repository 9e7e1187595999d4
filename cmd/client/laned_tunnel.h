// One tunnel to one connector over one way, with the lanes that it is made of.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cmd/client/client_tunnel.h"
#include "core/json_fwd.h"
#include "core/lanes.h"

namespace tg::client {

// LanedTunnel does what Lanes says: a stream begins on the lane that is chosen for it, and stays there. Its owner dials the first
// lane, and then each that wants_lane() asks for.
class LanedTunnel {
 public:
  struct Callbacks {
    std::function<void()> judge;                            // usable() or silent() may be another
    std::function<void(const Error&)> lost;                 // the last lane ended; take_pending() may be called; destroys this
    std::function<void()> look;                             // next_deadline() is another
    std::function<void()> idle;                             // a lane has no streams any more: tidy()
    std::function<void(ClientTunnel::Pending)> reopen;      // a stream that wants another lane, or another tunnel
  };

  // `connector`: its name, for the log.
  LanedTunnel(std::string connector, ClientTunnel::Path path, Callbacks callbacks);
  LanedTunnel(const LanedTunnel&) = delete;
  LanedTunnel& operator=(const LanedTunnel&) = delete;

  // add has a connection that stands be a lane.
  void add(std::unique_ptr<ClientTunnel> lane, const std::string& grant);
  // open and query begin a stream. Errors: as Tunnel::open; unreachable when no lane takes any.
  Result<> open(const OpenRequest& request, Stream& user);
  Result<> query(const Query& query, Stream& user);

  const ClientTunnel::Path& path() const noexcept { return path_; }
  bool usable() const noexcept { return plan_.usable(); }
  bool silent() const noexcept { return plan_.silent(); }   // a lane does not answer, and no other takes streams
  std::size_t streams() const;

  void set_grant(const std::string& grant);
  // network_changed has every lane show that it lives; the dial for another lane is given up.
  void network_changed();
  void forget_dial() noexcept { plan_.forget_dial(); }
  // close says goodbye on every lane, and counts none as lost any more.
  void close();
  // take_pending gives up the pending streams of every lane, or of the silent ones.
  std::vector<ClientTunnel::Pending> take_pending();
  std::vector<ClientTunnel::Pending> take_pending_of_silent();

  // wants_lane says whether to dial one more now, by the same way: add() or lane_failed() follows, or forget_dial(). Ask after every
  // event and at next_deadline().
  bool wants_lane();
  void lane_failed();
  Instant next_deadline() const noexcept { return plan_.next_deadline(); }
  // end_spare ends lanes that are not wanted any more; end_idle, of a tunnel that runs dry, every one without streams but for one.
  void end_spare();
  void end_idle();

  // status: path, address, flows, lanes, round_trip_ms once known, bytes_in and bytes_out.
  Json status() const;

 private:
  using Name = Lanes::Name;
  struct Lane {
    Name name;
    std::unique_ptr<ClientTunnel> tunnel;
  };

  ClientTunnel* choose();
  ClientTunnel& at(Name lane);
  Lanes::LoadOf loads();
  void silence(Name lane, bool silent);
  void ask_others(Name lane);
  void lost(Name lane, const Error& e);
  void end(Name lane);

  std::string connector_;
  ClientTunnel::Path path_;
  Callbacks callbacks_;
  Lanes plan_;
  Name last_ = 0;
  std::uint64_t past_in_ = 0, past_out_ = 0;   // bytes of lanes that ended
  bool closed_ = false;
  std::vector<Lane> lanes_;                    // destroyed first: their streams end, which is told
};

}  // namespace tg::client
