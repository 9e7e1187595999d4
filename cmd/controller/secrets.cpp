#include "cmd/controller/secrets.h"

#include "core/json.h"

namespace tg::controller {
namespace {

constexpr std::string_view kCa = "ca";                   // JSON of CaFiles, sealed
constexpr std::string_view kGrantSeed = "grant-key";     // 32 bytes, sealed
constexpr std::string_view kAuditSeed = "audit-key";     // 32 bytes, sealed
constexpr std::string_view kTicketKey = "ticket-key";    // 32 bytes, sealed

Result<> save(Store& store, const Vault& vault, std::string_view name, Bytes secret) {
  return store.set_value(name, vault.seal(name, secret));
}

Result<std::optional<Buffer>> load(Store& store, const Vault& vault, std::string_view name) {
  auto sealed = store.value(name);
  if (!sealed) return pass_on(sealed);
  if (!*sealed) return std::optional<Buffer>();
  auto secret = vault.unseal(name, **sealed);
  if (!secret) return pass_on(secret);
  return std::optional<Buffer>(std::move(*secret));
}

Result<Buffer> load_or_make_key(Store& store, const Vault& vault, std::string_view name, Loading loading) {
  auto key = load(store, vault, name);
  if (!key) return pass_on(key);
  if (*key && (*key)->size() == 32) return std::move(**key);
  if (*key) {
    return fail(Errc::malformed, "the stored " + std::string(name) +
                " is damaged; restore the state directory from a backup");
  }
  if (loading == Loading::read_only) return fail(Errc::not_found, "there is no " + std::string(name));
  Buffer fresh = random_bytes(32);
  if (auto saved = save(store, vault, name, fresh); !saved) return pass_on(saved);
  return fresh;
}

Result<Pki> pki_from(const Buffer& text, Lifetimes lifetimes) {
  const auto j = parse_json(as_text(text));
  const auto field = [&](const char* key) {
    return j && j->is_object() && j->contains(key) && (*j)[key].is_string() ? (*j)[key].get<std::string>()
        : std::string();
  };
  return Pki::load({field("root_key"), field("root"), field("issuing_key"), field("issuing")}, lifetimes);
}

}  // namespace

Result<> save_ca(Store& store, const Vault& vault, const Pki& pki) {
  const CaFiles& files = pki.files();
  const Json j = {{"root_key", files.root_key}, {"root", files.root}, {"issuing_key", files.issuing_key},
                  {"issuing", files.issuing}};
  return save(store, vault, kCa, as_bytes(json_text(j)));
}

Result<bool> has_secrets(Store& store) {
  auto sealed = store.value(kCa);
  if (!sealed) return pass_on(sealed);
  return sealed->has_value();
}

// A crash before the key is kept leaves the signed end of an empty log, which the next key signs anew.
Result<> begin_audit(Store& store, const Vault& vault, const Secrets& secrets) {
  if (auto signing = store.sign_audit_with({secrets.pki.instance(), secrets.audit_seed, secrets.audit_fresh}); !signing) {
    return signing;
  }
  return secrets.audit_fresh ? save(store, vault, kAuditSeed, secrets.audit_seed) : Result<>();
}

Result<Secrets> load_secrets(Store& store, const Vault& vault, UnixTime now, Loading loading, Lifetimes lifetimes) {
  auto stored = load(store, vault, kCa);
  if (!stored) return pass_on(stored);
  const bool fresh = !stored->has_value();
  if (fresh && loading == Loading::read_only) return fail(Errc::not_found, "there is no certificate authority");
  auto pki = fresh ? Pki::create(now, lifetimes) : pki_from(**stored, lifetimes);
  if (!pki) return pass_on(pki);
  auto renewed = loading == Loading::make ? pki->renew_issuing(now) : Result<bool>(false);
  if (!renewed) return pass_on(renewed);
  if (fresh || *renewed) {
    if (auto saved = save_ca(store, vault, *pki); !saved) return pass_on(saved);
  }
  auto grant_seed = load_or_make_key(store, vault, kGrantSeed, loading);
  if (!grant_seed) return pass_on(grant_seed);
  auto ticket_key = load_or_make_key(store, vault, kTicketKey, loading);
  if (!ticket_key) return pass_on(ticket_key);
  auto audit_seed = load(store, vault, kAuditSeed);
  if (!audit_seed) return pass_on(audit_seed);
  const bool audit_fresh = !audit_seed->has_value();
  if (audit_fresh && loading == Loading::make) *audit_seed = random_bytes(32);   // kept by begin_audit
  LeaseKeys keys{pki->instance(), Ed25519Key(*grant_seed), std::move(*ticket_key)};
  return Secrets{std::move(*pki), std::move(keys), audit_seed->value_or(Buffer()), audit_fresh, fresh};
}

}  // namespace tg::controller
