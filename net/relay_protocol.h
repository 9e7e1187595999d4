// What relay and connector say to each other. Every connection to a relay begins with a ClientHello, and its SNI says what
// it is for:
//   TICKET.tg      a client that wants to reach a connector: nothing is answered, the bytes are passed on
//   r-NONCE.tg     a connector that dials back: this one ClientHello is swallowed, then bytes are passed on
//   anything else  a connector's control stream (TLS, mutual), on which the relay says {"type":"dial","rendezvous":"r-NONCE"}
// On the control stream the relay says welcome, dial, pong, goodbye and error; the connector ping, goodbye and error.
// A message of any other type is answered with {"type":"error","text":"unknown message …"} and ends the stream.
#pragma once

#include <string>
#include <string_view>

#include "core/bytes.h"

namespace tg::net {

inline constexpr std::string_view kSniSuffix = ".tg";
inline constexpr std::string_view kRendezvousPrefix = "r-";

// rendezvous_hello returns the bytes of a ClientHello with this SNI, for the connector's side of a dial back.
Buffer rendezvous_hello(const std::string& server_name);

}  // namespace tg::net
