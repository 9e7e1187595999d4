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
  Buffer audit_seed;       // 32 bytes, Ed25519
  bool fresh = false;      // made just now: this is a new controller
};

// load_secrets reads the CA, the grant key and the ticket key; in a new store it makes them. The issuing CA is renewed
// when it is due. Errors: those of Store and Vault; malformed.
Result<Secrets> load_secrets(Store& store, const Vault& vault, UnixTime now);

// save_ca writes the CA after it was renewed.
Result<> save_ca(Store& store, const Vault& vault, const Pki& pki);

// has_secrets says whether load_secrets would find what it made before.
Result<bool> has_secrets(Store& store);

}  // namespace tg::controller
