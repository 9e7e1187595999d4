// TLS 1.3 between tg's own processes: both sides show a leaf of the controller's CA, and identity is that leaf's SAN
// URI. And, for TlsContext::web alone, TLS to servers of the public web.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/result.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::net {

// Identity is what a verified leaf says: tg://NETWORK/ROLE/ID. It is read from the leaf alone, whatever else is in the
// chain.
struct Identity {
  std::string network;         // the controller's instance name
  std::string role;            // "device", "connector", "relay" or "controller"
  std::string id;
  std::string key_thumbprint;  // RFC 7638, see core/grant.h
  UnixTime not_before{};
  UnixTime not_after{};
  bool operator==(const Identity&) const = default;
};
std::string to_uri(const Identity& i);
// parse_uri reads tg://NETWORK/ROLE/ID, with nothing before or behind it. The rest of Identity stays empty.
Result<Identity> parse_uri(std::string_view uri);

// leaf_identity reads the first certificate of a PEM chain, unverified: for an agent's own.
Result<Identity> leaf_identity(const std::string& chain_pem);

// Credentials are PEM: a private key (P-256), its certificate chain (leaf first), and the root that peers must chain
// to.
struct Credentials {
  std::string key;
  std::string chain;
  std::string root;
};

// ALPN of the three uses.
inline constexpr std::string_view kAlpnTunnel = "tg/1";
inline constexpr std::string_view kAlpnControl = "tg-control/1";
inline constexpr std::string_view kAlpnRelay = "tg-relay/1";

// TlsContext is what many connections share. TLS 1.3 only, X25519 (with Kyber768 first, where the library has it),
// no tickets, no 0-RTT. Copies are cheap and refer to the same context.
class TlsContext {
 public:
  // server verifies clients; with `require_client` false it lets one without a certificate in, whose identity() is then
  // empty, and one whose certificate ended up to 90 days ago, or begins in up to 90 days: that is the control stream's,
  // on which agents get a new one. Otherwise dates are checked with the wall clock and a leeway of 60 s.
  static Result<TlsContext> server(const Credentials& own, std::string_view alpn, bool require_client = true);
  static Result<TlsContext> client(const Credentials& own, std::string_view alpn);
  // pinned is a client without a certificate that trusts whatever chains to a root whose SubjectPublicKeyInfo has this
  // SHA-256: for the first contact with a token.
  static Result<TlsContext> pinned(Bytes ca_pin, std::string_view alpn);
  // web is a client of the public web: TLS 1.3, or 1.2 with an ECDHE AEAD suite, ALPN "http/1.1", no certificate of its
  // own. The peer must chain to a certificate of `roots_pem`, dates are checked without leeway, and the `server_name`
  // that Tls is given must be a name or address of the leaf's SAN (RFC 9525; no partial wildcards, no common name).
  // Without a server_name Tls ends with an error. identity() stays empty. What in `roots_pem` cannot be read is passed
  // over. Errors: not_found when it holds no certificate, malformed when it holds none that can be read.
  static Result<TlsContext> web(const std::string& roots_pem);
  // web_server is for browsers and other clients of the web: TLS 1.3, ALPN "http/1.1" for who asks for one, no certificates of clients.
  // The chain of `own` ends in its root, for clients that have pinned it. Whoever says a name (SNI) is shown `named`, where there is
  // one: its key and chain, of a CA that browsers know. Errors: malformed.
  static Result<TlsContext> web_server(const Credentials& own, const std::optional<Credentials>& named = {});

  struct State;
  const std::shared_ptr<State>& state() const noexcept { return state_; }

 private:
  std::shared_ptr<State> state_;
};

// Tls is one connection over a non-blocking stream socket. It seals and opens records in batches: reads of up to 256
// KiB, writes gathered until flush(). Callbacks come from the Loop; any of them may destroy the Tls.
class Tls {
 public:
  struct Callbacks {
    std::function<void()> on_open;                 // the handshake is done; identity() is set
    std::function<void(Bytes)> on_data;            // decrypted bytes: a record, or of a tunnel as many as were read at once
    std::function<void()> on_room;                 // queued output fell below kLowWater: produce more
    std::function<void(const Error&)> on_close;    // once, at the end: closed (orderly), timed_out, denied, …
  };

  static constexpr std::size_t kRecord = 16384;    // the most plain text of a record
  static constexpr std::size_t kHighWater = 256 * 1024;
  static constexpr std::size_t kLowWater = 128 * 1024;
  static constexpr Duration kHandshakeTimeout = std::chrono::seconds(10);

  // `fd` may still be connecting (client). `server_name`: SNI, "" for none; see TlsContext::web for what it is there.
  // `expect_uri`: the peer's SAN URI must be exactly this; "" takes any identity, and the caller looks at identity() in
  // on_open.
  Tls(Loop& loop, Fd fd, const TlsContext& context, Callbacks callbacks, std::string server_name = {},
      std::string expect_uri = {});
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // feed_first hands over bytes already read from the socket. Server side, before the Loop runs.
  void feed_first(Bytes bytes);

  // write seals `plain` into the output queue; send() happens in flush(), or by itself when the Loop turns. Before
  // on_open and after close() it does nothing.
  void write(Bytes plain);
  void flush();
  std::size_t queued() const noexcept;             // sealed bytes not yet taken by the kernel
  std::uint64_t taken() const noexcept;            // and those that were, since the beginning
  // acknowledged returns when the peer's host last acknowledged anything, while it has not yet acknowledged all that
  // was sent; nothing when it has.
  std::optional<Instant> acknowledged() const noexcept;
  // pause_reading stops on_data until called with false: back-pressure.
  void pause_reading(bool paused);
  // close sends what is queued and close_notify, then calls on_close. Destroying closes at once.
  void close();

  const std::optional<Identity>& identity() const noexcept;   // of the peer
  const std::string& root_pem() const noexcept;               // pinned(): the root that the peer showed
  Endpoint peer() const noexcept;

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace tg::net
