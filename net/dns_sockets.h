// The sockets under dns::Resolver and dns::Forwarder.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <unordered_map>

#include "dns/exchange.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// random_u32 is unpredictable: BoringSSL's RAND_bytes.
std::uint32_t random_u32();

// DnsSockets does what an Asker wants done, and tells it what comes of it. Every transaction has a connected socket of its
// own, with a port that the kernel picks at random; from other addresses it hears nothing.
class DnsSockets {
 public:
  // `asker` must outlive this. `after` is called, from the Loop, after every event that was told to `asker`: it must not
  // destroy this.
  DnsSockets(Loop& loop, dns::Asker& asker, std::function<void()> after);
  ~DnsSockets();
  DnsSockets(const DnsSockets&) = delete;
  DnsSockets& operator=(const DnsSockets&) = delete;

  // pump carries out the asker's actions and sets the timer: call it after each call to the asker.
  void pump();
  std::size_t open() const noexcept { return sockets_.size(); }

 private:
  struct Socket {
    Fd fd;
    Watch watch;        // behind fd: it goes first
    Endpoint server;
    Buffer out;         // TCP: what is not sent yet
    bool tcp = false;
    bool connected = false;
  };
  void start(dns::Action& action);
  bool start_udp(Socket& s, dns::Transaction t, Bytes datagram);
  bool start_tcp(Socket& s, dns::Transaction t);
  void on_readable(dns::Transaction t);
  void on_writable(dns::Transaction t);
  void done();

  Loop& loop_;
  dns::Asker& asker_;
  std::function<void()> after_;
  std::unordered_map<dns::Transaction, std::unique_ptr<Socket>> sockets_;
  Timer timer_;
  Buffer buffer_;
};

}  // namespace tg::net
