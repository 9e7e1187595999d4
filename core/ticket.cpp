#include "core/ticket.h"

#include <algorithm>
#include <array>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "core/encoding.h"

namespace tg {
namespace {

constexpr std::size_t kBodySize = 8 + 4 + 8, kMacSize = 16, kKeySize = 32;
constexpr std::chrono::seconds kTicketLeeway(60);

using Mac = std::array<std::uint8_t, 32>;

Mac mac_of(Bytes body, Bytes key) {
  TG_CHECK(key.size() == kKeySize);
  Mac out{};
  TG_CHECK(HMAC(EVP_sha256(), key.data(), key.size(), body.data(), body.size(), out.data(), nullptr) != nullptr);
  return out;
}

}  // namespace

std::string Ticket::label(Bytes key) const {
  Buffer out;
  Writer w(out);
  w.u64(connector);
  w.u32(static_cast<std::uint32_t>(std::clamp<std::int64_t>(expires.time_since_epoch().count(), 0, 0xFFFFFFFF)));
  w.u64(nonce);
  w.bytes(Bytes(mac_of(out, key)).first(kMacSize));
  return base32(out);
}

Result<Ticket> Ticket::open(std::string_view label, Bytes key, UnixTime now) {
  if (label.size() > 63) return fail(Errc::malformed, "no ticket: longer than a label");
  const auto bytes = unbase32(label);
  if (!bytes || bytes->size() != kBodySize + kMacSize) return fail(Errc::malformed, "no ticket");
  const Bytes body = Bytes(*bytes).first(kBodySize);
  const Mac mac = mac_of(body, key);
  if (!same_secret(Bytes(mac).first(kMacSize), Bytes(*bytes).last(kMacSize))) {
    return fail(Errc::denied, "the ticket is not sealed with this relay's key");
  }
  Reader r(body);
  Ticket out;
  out.connector = r.u64();
  out.expires = UnixTime(std::chrono::seconds(r.u32()));
  out.nonce = r.u64();
  if (now > out.expires + kTicketLeeway) return fail(Errc::expired, "the ticket has expired");
  return out;
}

Buffer relay_ticket_key(Bytes key, std::string_view relay) {
  Buffer info;
  Writer w(info);
  w.text("tg relay ");
  w.text(relay);
  const Mac mac = mac_of(info, key);
  return Buffer(mac.begin(), mac.end());
}

}  // namespace tg
