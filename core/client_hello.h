// Just enough of a TLS ClientHello for a relay to know whom to ring.
#pragma once

#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/result.h"

namespace tg {

struct ClientHello {
  std::string server_name;    // SNI host_name (RFC 6066 section 3), lower case; "" when there is none
  std::size_t size = 0;       // bytes of the TLS records that carry it
};

// parse_client_hello reads the ClientHello (RFC 8446 section 4.1.2) at the start of a TCP stream, also when it is
// spread over several records. Nothing: more bytes are needed. Errors: Errc::protocol when this is no ClientHello, or
// its records are above kClientHelloMax bytes.
inline constexpr std::size_t kClientHelloMax = 16384;
Result<std::optional<ClientHello>> parse_client_hello(Bytes stream);

}  // namespace tg
