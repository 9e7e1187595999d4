#include "core/token.h"

#include <algorithm>

#include "core/encoding.h"

namespace tg {
namespace {

constexpr std::string_view kPrefix = "tg1_";
constexpr std::size_t kIdSize = 16, kSecretSize = 32, kPinSize = 32, kCheckSize = 4;
constexpr std::size_t kTokenMax = 1024;   // far above the longest name; nobody hashes a megabyte of paste

Buffer check_of(Bytes b) {
  Buffer digest = sha256(b);
  digest.resize(kCheckSize);
  return digest;
}

tl::unexpected<Error> no_token() {
  return fail(Errc::malformed, "this is no token, or a part of it is missing; copy it again, whole, from tg1_ on");
}

}  // namespace

std::string_view to_string(Token::Role r) noexcept {
  switch (r) {
    case Token::Role::device: return "device";
    case Token::Role::connector: return "connector";
    case Token::Role::relay: return "relay";
    case Token::Role::service: return "service";
    case Token::Role::api: return "api";
  }
  return "unknown";
}

std::optional<Token::Role> role_from(std::string_view text) noexcept {
  using enum Token::Role;
  for (const auto role : {device, connector, relay, service, api}) {
    if (to_string(role) == text) return role;
  }
  return std::nullopt;
}

std::string Token::to_string() const {
  TG_CHECK(id.size() == kIdSize && secret.size() == kSecretSize && ca_pin.size() == kPinSize);
  const auto seconds = std::clamp<std::int64_t>(expires.time_since_epoch().count(), 0, 0xFFFFFFFF);
  Buffer out;
  Writer w(out);
  w.u8(static_cast<std::uint8_t>(role));
  w.u32(static_cast<std::uint32_t>(seconds));
  w.bytes(id);
  w.bytes(secret);
  w.bytes(ca_pin);
  w.text(controller.to_string());
  w.bytes(check_of(out));
  return std::string(kPrefix) + base64url(out);
}

Result<Token> Token::parse(std::string_view text) {
  if (!text.starts_with(kPrefix) || text.size() > kTokenMax) return no_token();
  const auto bytes = unbase64url(text.substr(kPrefix.size()));
  if (!bytes || bytes->size() < kCheckSize) return no_token();
  const Bytes body = Bytes(*bytes).first(bytes->size() - kCheckSize);
  if (!same_secret(check_of(body), Bytes(*bytes).last(kCheckSize))) return no_token();

  Reader r(body);
  Token out;
  const std::uint8_t role = r.u8();
  out.expires = UnixTime(std::chrono::seconds(r.u32()));
  const auto take = [&](std::size_t n) { const Bytes b = r.bytes(n); return Buffer(b.begin(), b.end()); };
  out.id = take(kIdSize);
  out.secret = take(kSecretSize);
  out.ca_pin = take(kPinSize);
  auto controller = HostPort::parse(as_text(r.rest()));
  if (!r.ok() || !controller) return no_token();
  if (role < 1 || role > 5) return fail(Errc::malformed, "this token is for a role that this version does not know");
  out.role = static_cast<Role>(role);
  out.controller = std::move(*controller);
  return out;
}

}  // namespace tg
