// What a client shows to a relay in the SNI of its ClientHello, so that the relay knows whom to ring.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"

namespace tg {

inline constexpr std::chrono::seconds kTicketLifetime = std::chrono::hours(24);

// Ticket admits to one connector until it expires. The relay learns which connector, nothing else; a stolen ticket buys
// a TLS handshake that fails. The MAC is HMAC-SHA-256 cut to 128 bits over everything before it (RFC 2104 section 5).
// Label: base32 of u64 connector, u32 expiry (Unix), 8 bytes nonce, 16 bytes MAC: 58 characters of the 63 that a label
// has. A ticket is good at one relay.
struct Ticket {
  std::uint64_t connector = 0;
  UnixTime expires{};
  std::uint64_t nonce = 0;

  // label returns the SNI label, sealed with `key` (32 bytes, known to the controller and one relay).
  std::string label(Bytes key) const;
  // open returns the ticket of a label. Errors: malformed; denied (the MAC is wrong); expired (with a leeway of 60 s).
  static Result<Ticket> open(std::string_view label, Bytes key, UnixTime now);
};

// relay_ticket_key derives the key of one relay from the controller's ticket key, so that what is stolen from a relay
// opens no other relay's door. HMAC-SHA-256 over "tg relay " and `relay`. `key`: 32 bytes. Returns 32 bytes.
Buffer relay_ticket_key(Bytes key, std::string_view relay);

}  // namespace tg
