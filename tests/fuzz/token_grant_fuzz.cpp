// Everything that is believed only after it was checked: tokens, tickets, grants, and what a control stream carries.
#include <array>
#include <cstring>

#include <openssl/curve25519.h>

#include "core/connection_event.h"
#include "core/encoding.h"
#include "core/event_queue.h"
#include "core/grant.h"
#include "core/json.h"
#include "core/text.h"
#include "core/ticket.h"
#include "core/token.h"
#include "core/view.h"
#include "tests/fuzz/seeds.h"

namespace {

using namespace tg;

const Buffer kKey(32, 7);
const UnixTime kNow(std::chrono::seconds(1'800'000'000));

bool verify(std::string_view jws) {
  const Buffer key = ed25519_public_key(kKey);
  const auto grant = Grant::verify(jws, key, "c0ffee", "home", "thumb", kNow);
  if (!grant) return false;
  TG_CHECK(grant->expires + std::chrono::seconds(60) >= kNow);
  TG_CHECK(Grant::verify(grant->sign(kKey), key, "c0ffee", "home", "thumb", kNow).has_value());
  return true;
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

// An item that is understood is the same after another round trip. Each says whether it was.
template <auto from_json>
bool item(std::string_view text) {
  const auto j = parse_json(text);
  if (!j) return false;
  const auto one = from_json(*j);
  if (!one) return false;
  const Json written = to_json(*one);
  TG_CHECK(to_json(from_json(written).value()) == written);
  return true;
}

bool token(std::string_view text) {
  const auto t = Token::parse(text);
  if (t) TG_CHECK(t->to_string() == text);
  return t.has_value();
}

bool ticket(std::string_view text) {
  const auto t = Ticket::open(text, kKey, kNow);
  if (t) TG_CHECK(Ticket::open(t->label(kKey), kKey, kNow).has_value());
  return t.has_value();
}

bool claims(std::string_view text) { return verify(signed_claims(as_bytes(text))); }

// An event is written the same both ways, and shown in one line of which nothing moves a cursor.
bool event(std::string_view text) {
  const auto j = parse_json(text);
  if (!j) return false;
  const auto recorded = recorded_event_from_json(*j);
  if (recorded) {
    TG_CHECK(recorded_event_from_json(to_json(*recorded)).value() == *recorded);
    const std::string line = text_of(*recorded);
    TG_CHECK(printable(line, line.size()) == line);
  }
  const auto one = connection_event_from_json(*j);
  if (!one) return false;
  TG_CHECK(event_line(*one) == json_text(to_json(*one)));
  TG_CHECK(connection_event_from_json(parse_json(event_line(*one)).value()).value() == *one);
  return true;
}

bool segment(std::string_view name) {
  const auto s = segment_named(name);
  if (s) TG_CHECK(segment_name(*s) == name);
  return s.has_value();
}

// control_stream says whether messages came out of the bytes, fed in pieces, and no error.
bool control_stream(std::string_view text) {
  const Bytes bytes = as_bytes(text);
  ControlReader reader(kControlBeforeIdentity);
  bool any = false;
  for (std::size_t at = 0; at < bytes.size(); at += 7) {
    reader.feed(bytes.subspan(at, std::min<std::size_t>(7, bytes.size() - at)));
    while (true) {
      const auto message = reader.next();
      if (!message) return false;
      if (!*message) break;
      any = true;
      TG_CHECK((**message)["type"].is_string());
    }
  }
  return any;
}

// Each seed, and what is to understand it; every input goes through them all.
constexpr Seed kSeeds[] = {
    {"token", token},
    {"ticket", ticket},
    {"grant", verify},
    {"claims", claims},
    {"claims_with_ends", claims},
    {"access", item<access_from_json>},
    {"protocols", item<protocols_from_json>},
    {"resource", item<resource_from_json>},
    {"connector", item<connector_from_json>},
    {"connector_self", item<connector_self_from_json>},
    {"relay_self", item<relay_self_from_json>},
    {"device_self", item<device_self_from_json>},
    {"control_frame", control_stream},
    {"connection_event", event},
    {"recorded_event", event},
    {"event_segment", segment},
};

}  // namespace

std::span<const Seed> seeds() { return kSeeds; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const Seed& seed : kSeeds) seed.understood(as_text({data, size}));
  return 0;
}
