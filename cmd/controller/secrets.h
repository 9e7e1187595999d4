// The controller's own keys: made at the first start, kept in the store, sealed.
#pragma once

#include "cmd/controller/leases.h"
#include "cmd/controller/pki.h"
#include "cmd/controller/store.h"
#include "cmd/controller/vault.h"

namespace tg::controller {

struct Secrets {
  Pki pki;
  LeaseKeys keys;
  Buffer audit_seed;       // 32 bytes, Ed25519; empty where there is none and nothing was made
  bool audit_fresh = false;   // it was made just now, and is not kept before begin_audit
  bool fresh = false;      // made just now: this is a new controller
};

// load_secrets reads the CA and the keys; in a new store it makes them, and the issuing CA is renewed when it is due. With
// read_only nothing is made, renewed or written. Errors: those of Store and Vault; malformed; not_found with read_only.
enum class Loading : std::uint8_t { make, read_only };
Result<Secrets> load_secrets(Store& store, const Vault& vault, UnixTime now, Loading loading = Loading::make,
                             Lifetimes lifetimes = {});

// begin_audit has the store sign its audit log, before the first change. Errors: those of Store::sign_audit_with.
Result<> begin_audit(Store& store, const Vault& vault, const Secrets& secrets);

// save_ca writes the CA after it was renewed.
Result<> save_ca(Store& store, const Vault& vault, const Pki& pki);

// kProviderSecret is the name under which the client secrets of identity providers are sealed: those may be renamed.
inline constexpr std::string_view kProviderSecret = "identity-provider";
inline constexpr std::string_view kTotpSecretName = "totp";    // likewise those of second factors

// has_secrets says whether load_secrets would find what it made before.
Result<bool> has_secrets(Store& store);

}  // namespace tg::controller
