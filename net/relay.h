// The relay: joins a client and a connector that both dialled out to it. It passes ciphertext and knows no key.
#pragma once

#include <memory>
#include <string>

#include "core/bytes.h"
#include "net/loop.h"
#include "net/socket.h"
#include "net/tls.h"

namespace tg::net {

// Relay serves one listener. See net/relay_protocol.h for what is said on it. Bounds: 10 s for a ClientHello and for a dial
// back; kWaitingMax connections that are not joined or verified yet, kWaitingPerSource of them from one source, and then the
// oldest goes (core/crowd.h); 4 control streams of one connector, likewise. What is joined is passed on by workers.
class Relay {
 public:
  static constexpr std::size_t kWaitingMax = 4096;
  static constexpr std::size_t kWaitingPerSource = 256;

  // `control`: a server context for kAlpnRelay that wants client certificates. `ticket_key`: 32 bytes. `instance`: the name
  // that connectors' SAN URIs must carry. `threads`: how many pass on what is joined, at most.
  Relay(Loop& loop, Fd listener, const TlsContext& control, Buffer ticket_key, std::string instance, std::size_t threads);
  ~Relay();

  std::size_t connectors() const noexcept;   // control streams up
  std::size_t joined() const noexcept;       // pairs being passed on
  struct Counts {
    std::uint64_t joined = 0;                // pairs, ever
    std::uint64_t bytes = 0;                 // that were passed on by splice(2), both ways
    std::uint64_t threads = 0;               // that pass on; they start when there are pairs
  };
  Counts counts() const noexcept;
  // set_context is for a renewed certificate; connections that stand keep theirs.
  void set_context(const TlsContext& control);
  void set_ticket_key(Buffer key);
  // goodbye tells the connectors that this relay is about to end, and takes no connection any more: whoever comes back
  // is refused at once. It leaves when the Loop turns.
  void goodbye();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg::net
