#include "core/audit.h"

#include <openssl/curve25519.h>

#include "core/encoding.h"
#include "core/json.h"

namespace tg {
namespace {

Json value_of(const std::string& text) {
  auto parsed = parse_json(text);
  return parsed ? std::move(*parsed) : Json(nullptr);
}

tl::unexpected<Error> broken(std::uint64_t number, const std::string& how) {
  return fail(Errc::failed, "entry " + std::to_string(number) + " of the audit log " + how);
}

std::string head_text(const AuditHead& head, std::string_view instance) {
  return "tg audit head of " + std::string(instance) + ": " + std::to_string(head.number) + " " + hex(head.hash);
}

}  // namespace

Json to_json(const AuditEntry& e) {
  return {{"number", e.number}, {"time", e.time.time_since_epoch().count()}, {"who", e.who}, {"from", e.from},
          {"action", e.action}, {"kind", e.kind}, {"name", e.name}, {"before", value_of(e.before)},
          {"after", value_of(e.after)}};
}

std::string audit_text(const AuditEntry& e) { return json_text(to_json(e)); }

AuditHead audit_next(const AuditHead& head, std::string_view text) {
  Buffer input = head.hash;
  const Bytes more = as_bytes(text);
  input.insert(input.end(), more.begin(), more.end());
  return {head.number + 1, sha256(input)};
}

Buffer sign_head(const AuditHead& head, std::string_view instance, Bytes seed) {
  TG_CHECK(seed.size() == 32);
  std::array<std::uint8_t, ED25519_PUBLIC_KEY_LEN> public_key{};
  std::array<std::uint8_t, ED25519_PRIVATE_KEY_LEN> private_key{};
  ED25519_keypair_from_seed(public_key.data(), private_key.data(), seed.data());
  Buffer signature(ED25519_SIGNATURE_LEN);
  const std::string text = head_text(head, instance);
  const Bytes message = as_bytes(text);
  TG_CHECK(ED25519_sign(signature.data(), message.data(), message.size(), private_key.data()) == 1);
  return signature;
}

bool head_signed(const AuditHead& head, std::string_view instance, Bytes signature, Bytes public_key) {
  if (signature.size() != ED25519_SIGNATURE_LEN || public_key.size() != ED25519_PUBLIC_KEY_LEN) return false;
  const std::string text = head_text(head, instance);
  const Bytes message = as_bytes(text);
  return ED25519_verify(message.data(), message.size(), signature.data(), public_key.data()) == 1;
}

Result<> AuditCheck::add(std::uint64_t number, std::string_view text, Bytes hash) {
  if (number != head_.number + 1) {
    return broken(number, "comes where " + std::to_string(head_.number + 1) + " should: entries were taken out or put in");
  }
  AuditHead next = audit_next(head_, text);
  if (!same_secret(next.hash, hash)) return broken(number, "was altered, or what stands before it was");
  const auto entry = parse_json(text);
  if (!entry || !entry->is_object() || number_or(*entry, "number", 0) != static_cast<std::int64_t>(number)) {
    return broken(number, "says that it is another one");
  }
  head_ = std::move(next);
  return {};
}

Result<> AuditCheck::end(const AuditHead& kept, std::string_view instance, Bytes signature, Bytes public_key) const {
  if (kept.number != head_.number || !same_secret(kept.hash, head_.hash)) {
    return fail(Errc::failed, "the audit log ends at entry " + std::to_string(head_.number) + " and should end at entry " +
                                  std::to_string(kept.number) + ": entries were taken from its end, or put there");
  }
  if (!head_signed(kept, instance, signature, public_key)) {
    return fail(Errc::failed, "the end of the audit log is not signed by this controller");
  }
  return {};
}

}  // namespace tg
