#include "core/grant.h"

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>

#include <openssl/curve25519.h>

#include "core/encoding.h"
#include "core/json.h"

namespace tg {
namespace {

constexpr std::size_t kGrantTextMax = 1u << 20;   // some 100,000 Resources
constexpr std::chrono::seconds kGrantLeeway(60);

std::string encoded(const Json& j) { return base64url(as_bytes(json_text(j))); }

// Jws is the compact form cut at its dots (RFC 7515 section 7.1).
struct Jws {
  std::string_view signed_part;   // header.payload
  std::string_view header, payload, signature;
};

Result<Jws> cut_grant(std::string_view text) {
  const auto first = text.find('.');
  const auto second = first == std::string_view::npos ? first : text.find('.', first + 1);
  if (second == std::string_view::npos || text.size() > kGrantTextMax) return fail(Errc::malformed, "the grant is no JWS");
  return Jws{text.substr(0, second), text.substr(0, first), text.substr(first + 1, second - first - 1),
             text.substr(second + 1)};
}

std::optional<Json> decoded(std::string_view part) {
  const auto bytes = unbase64url(part);
  return bytes ? parse_json(as_text(*bytes)) : std::nullopt;
}

// check_header takes EdDSA and nothing else, and no extension that has to be understood (RFC 7515 section 4.1.11).
Result<> check_header(std::string_view part) {
  const auto header = decoded(part);
  if (!header || !header->is_object()) return fail(Errc::malformed, "the grant's header is not JSON");
  if (header->value("alg", Json()) != "EdDSA") return fail(Errc::denied, "the grant is not signed with EdDSA");
  if (header->contains("crit")) return fail(Errc::denied, "the grant has critical extensions");
  return {};
}

Result<> check_signature(const Jws& jws, Bytes public_key) {
  const auto signature = unbase64url(jws.signature);
  if (!signature || signature->size() != ED25519_SIGNATURE_LEN)
    return fail(Errc::malformed, "the grant's signature is cut");
  const Bytes message = as_bytes(jws.signed_part);
  if (ED25519_verify(message.data(), message.size(), signature->data(), public_key.data()) != 1) {
    return fail(Errc::denied, "the grant is not signed by this controller");
  }
  return {};
}

Result<Grant> read_claims(std::string_view part) {
  const auto claims = decoded(part);
  if (!claims) return fail(Errc::malformed, "the grant's claims are not JSON");
  Fields f(*claims, "grant");
  constexpr std::uint64_t kTimeMax = 1ull << 40;
  Grant g;
  g.issuer = f.text("iss");
  g.user = f.text("sub");
  g.device = f.text("device");
  g.network = f.text("network");
  g.generation = f.number("gen", kGenerationMax);
  g.issued = UnixTime(std::chrono::seconds(f.number("iat", kTimeMax)));
  g.expires = UnixTime(std::chrono::seconds(f.number("exp", kTimeMax)));
  if (const Json* cnf = f.any("cnf")) {
    Fields c(*cnf, "grant cnf");
    g.key_thumbprint = c.text("jkt");
    if (!c.ok()) return c.error();
  }
  const auto ids = [&](const Json* list, const char* key) {
    std::vector<ResourceId> out;
    if (list == nullptr || !list->is_array()) {
      f.refuse(key, "is not a list");
      return out;
    }
    for (const Json& id : *list) {
      if (id.is_number_unsigned()) out.push_back(id.get<ResourceId>());
    }
    const bool rising = std::adjacent_find(out.begin(), out.end(), std::greater_equal<>()) == out.end();
    if (out.size() != list->size() || !rising) f.refuse(key, "is not a rising list of ids");
    return out;
  };
  g.resources = ids(f.any("resources"), "resources");
  if (f.has("withheld")) g.withheld = ids(f.any("withheld"), "withheld");
  if (const Json* ends = f.has("ends") ? f.any("ends") : nullptr) {
    if (!ends->is_array()) f.refuse("ends", "is not a list");
    for (const Json& one : *ends) {
      const bool pair = one.is_array() && one.size() == 2 && one[0].is_number_unsigned() && one[0].get<std::uint64_t>() <= kTimeMax;
      if (!pair) f.refuse("ends", "is not a list of moments and ids");
      else g.ends[UnixTime(std::chrono::seconds(one[0].get<std::uint64_t>()))] = ids(&one[1], "ends");
    }
  }
  if (!f.ok()) return f.error();
  return g;
}

}  // namespace

bool Grant::covers(ResourceId id) const noexcept {
  if (std::binary_search(resources.begin(), resources.end(), id)) return true;
  return std::any_of(ends.begin(), ends.end(), [&](const auto& one) { return std::binary_search(one.second.begin(), one.second.end(), id); });
}

bool Grant::withholds(ResourceId id) const noexcept { return std::binary_search(withheld.begin(), withheld.end(), id); }

bool Grant::end(UnixTime now) {
  bool any = false;
  while (!ends.empty() && now >= ends.begin()->first + kEndTolerance) {
    any = true;
    const auto over = ends.extract(ends.begin());
    std::vector<ResourceId> all;
    std::set_union(withheld.begin(), withheld.end(), over.mapped().begin(), over.mapped().end(), std::back_inserter(all));
    withheld = std::move(all);
  }
  return any;
}

Ed25519Key::Ed25519Key(Bytes seed) {
  TG_CHECK(seed.size() == 32);
  std::array<std::uint8_t, ED25519_PUBLIC_KEY_LEN> public_key{};
  static_assert(ED25519_PRIVATE_KEY_LEN == sizeof pair_);
  ED25519_keypair_from_seed(public_key.data(), pair_.data(), seed.data());
}

Buffer Ed25519Key::sign(Bytes message) const {
  Buffer signature(ED25519_SIGNATURE_LEN);
  TG_CHECK(ED25519_sign(signature.data(), message.data(), message.size(), pair_.data()) == 1);
  return signature;
}

std::string Grant::sign(const Ed25519Key& key) const {
  std::vector<ResourceId> ids = resources;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  const auto unix_seconds = [](UnixTime t) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(0, t.time_since_epoch().count()));
  };
  Json claims = {{"iss", issuer},
                 {"sub", user},
                 {"device", device},
                 {"network", network},
                 {"resources", ids},
                 {"gen", generation},
                 {"iat", unix_seconds(issued)},
                 {"exp", unix_seconds(expires)},
                 {"cnf", {{"jkt", key_thumbprint}}}};
  if (!withheld.empty()) claims["withheld"] = withheld;
  for (const auto& [when, what] : ends) claims["ends"].push_back(Json::array({unix_seconds(when), what}));
  std::string out = encoded({{"alg", "EdDSA"}, {"typ", "JWT"}}) + "." + encoded(claims);
  return out + "." + base64url(key.sign(as_bytes(out)));
}

Result<Grant> Grant::verify(std::string_view jws, Bytes public_key, std::string_view issuer, std::string_view network,
                            std::string_view thumbprint, UnixTime now, std::chrono::seconds grace) {
  TG_CHECK(public_key.size() == ED25519_PUBLIC_KEY_LEN);
  auto parts = cut_grant(jws);
  if (!parts) return pass_on(parts);
  if (auto ok = check_header(parts->header); !ok) return pass_on(ok);
  if (auto ok = check_signature(*parts, public_key); !ok) return pass_on(ok);
  auto grant = read_claims(parts->payload);
  if (!grant) return grant;
  if (grant->issuer != issuer) return fail(Errc::denied, "the grant is of another controller");
  if (grant->network != network) return fail(Errc::denied, "the grant is for another network");
  if (!same_secret(as_bytes(grant->key_thumbprint), as_bytes(thumbprint))) {
    return fail(Errc::denied, "the grant is bound to another device's key");
  }
  if (grant->issued > now + kGrantLeeway) return fail(Errc::expired, "the grant is from the future; check the clocks");
  if (now > grant->expires + kGrantLeeway + grace) return fail(Errc::expired, "the grant has expired");
  static_cast<void>(grant->end(now));
  return grant;
}

Buffer ed25519_public_key(Bytes seed) { return Ed25519Key(seed).public_key(); }

Result<std::string> jwk_thumbprint(Bytes point) {
  if (point.size() != 65 || point[0] != 4) return fail(Errc::malformed, "not an uncompressed P-256 point");
  const std::string jwk = R"({"crv":"P-256","kty":"EC","x":")" + base64url(point.subspan(1, 32)) + R"(","y":")" +
                          base64url(point.subspan(33, 32)) + R"("})";
  return base64url(sha256(as_bytes(jwk)));
}

}  // namespace tg
