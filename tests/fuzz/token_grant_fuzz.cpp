// Everything that is believed only after it was checked: tokens, tickets, grants, and what a control stream carries.
#include <array>
#include <cstring>

#include <openssl/curve25519.h>

#include "core/encoding.h"
#include "core/grant.h"
#include "core/json.h"
#include "core/ticket.h"
#include "core/token.h"
#include "core/view.h"

namespace {

using namespace tg;

const Buffer kKey(32, 7);
const UnixTime kNow(std::chrono::seconds(1'800'000'000));

void verify(std::string_view jws) {
  const Buffer key = ed25519_public_key(kKey);
  const auto grant = Grant::verify(jws, key, "c0ffee", "home", "thumb", kNow);
  if (!grant) return;
  TG_CHECK(grant->expires + std::chrono::seconds(60) >= kNow);
  TG_CHECK(Grant::verify(grant->sign(kKey), key, "c0ffee", "home", "thumb", kNow).has_value());
}

// signed_claims lets the fuzzer past the signature, which it cannot guess.
std::string signed_claims(Bytes claims) {
  const std::string message = base64url(as_bytes(R"({"alg":"EdDSA"})")) + "." + base64url(claims);
  std::array<std::uint8_t, 32> pub{};
  std::array<std::uint8_t, 64> key{}, signature{};
  ED25519_keypair_from_seed(pub.data(), key.data(), kKey.data());
  ED25519_sign(signature.data(), as_bytes(message).data(), message.size(), key.data());
  return message + "." + base64url(signature);
}

void read_items(const Json& j) {
  if (const auto r = resource_from_json(j)) TG_CHECK(resource_from_json(to_json(*r)).value() == *r);
  if (const auto c = connector_from_json(j)) TG_CHECK(connector_from_json(to_json(*c)).value() == *c);
  if (const auto s = connector_self_from_json(j))
    TG_CHECK(to_json(connector_self_from_json(to_json(*s)).value()) == to_json(*s));
  if (const auto p = protocols_from_json(j)) TG_CHECK(protocols_from_json(to_json(*p)).value() == *p);
  static_cast<void>(device_self_from_json(j));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(data, size);
  const std::string_view text = as_text(bytes);
  if (const auto token = Token::parse(text)) TG_CHECK(token->to_string() == text);
  if (const auto ticket = Ticket::open(text, kKey, kNow))
    TG_CHECK(Ticket::open(ticket->label(kKey), kKey, kNow).has_value());
  verify(text);
  verify(signed_claims(bytes));
  if (const auto j = parse_json(text)) read_items(*j);

  ControlReader reader(kControlBeforeIdentity);
  for (std::size_t at = 0; at < size; at += 7) {
    reader.feed(bytes.subspan(at, std::min<std::size_t>(7, size - at)));
    while (true) {
      const auto message = reader.next();
      if (!message) return 0;
      if (!*message) break;
      TG_CHECK((**message)["type"].is_string());
    }
  }
  return 0;
}
