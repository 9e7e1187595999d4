// What a stream of a tunnel is used for on the client.
#pragma once

#include "core/tunnel.h"
#include "net/tunnel_link.h"

namespace tg::client {

class ClientTunnel;

// Stream is the owner of one stream, or of a place in the queue for one. Destroying it gives both up: a stream that still
// lives is reset. Which events come depends on what was asked for.
class Stream {
 public:
  Stream() = default;
  virtual ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // on_begun: there is a stream now: link() and id() may be used. Called again when a stream that was pending (see
  // ClientTunnel) is begun anew on another tunnel. Datagrams and echoes that were sent into the first are not sent again.
  virtual void on_begun() {}
  virtual void on_opened() {}
  virtual void on_data(Bytes) {}
  virtual void on_fin() {}
  virtual void on_datagram(Bytes) {}
  virtual void on_echo(const Echo&) {}
  virtual void on_answer(std::uint8_t, Bytes) {}   // the stream is over
  virtual Pull pull(MutBytes) { return {}; }
  // on_end says that the connector has reset the stream, that the tunnel was lost, or that none could be had. May destroy
  // the Stream.
  virtual void on_end(Code code) = 0;

  bool begun() const noexcept { return tunnel_ != nullptr; }
  net::TunnelLink& link() const noexcept;
  const ClientTunnel& tunnel() const noexcept { return *tunnel_; }
  StreamId id() const noexcept { return id_; }

 private:
  friend class ClientTunnel;
  friend class Tunnels;
  ClientTunnel* tunnel_ = nullptr;
  StreamId id_ = 0;
  int moves_ = 0;             // to another tunnel since it was last opened
  bool* waiting_ = nullptr;   // in the queue of Tunnels: set to false to leave it
};

}  // namespace tg::client
