// The controller's certificate authority: a root for ten years, an issuing CA for one, leaves for a day.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"
#include "net/tls.h"

namespace tg::controller {

inline constexpr std::chrono::seconds kLeafLifetime = std::chrono::hours(24);
inline constexpr std::chrono::seconds kIssuingLifetime = std::chrono::hours(24 * 365);
inline constexpr std::chrono::seconds kRootLifetime = std::chrono::hours(24 * 3652);
// Lifetimes is how long certificates are good for. Each is renewed when half of that is over.
struct Lifetimes {
  std::chrono::seconds leaf = kLeafLifetime;
  std::chrono::seconds issuing = kIssuingLifetime;   // at least twice as long: no leaf outlives what signed it
};
// Certificates are valid from an hour before they were made: a machine whose clock is late by less than that gets in. (Those that live
// for less than a day, from as much of their life.)
inline constexpr std::chrono::seconds kBackdated = std::chrono::hours(1);
constexpr std::chrono::seconds backdated(std::chrono::seconds lifetime) { return std::min(kBackdated, lifetime / 24); }
// leaf_due says whether a leaf made at `made` is to be replaced: half of its life is over, or it is from before the
// clock was set back, and would be valid nowhere.
constexpr bool leaf_due(UnixTime made, UnixTime now, std::chrono::seconds lifetime = kLeafLifetime) {
  return now < made || now >= made + lifetime / 2;
}
// The controller has one identity, so that agents know the URI that they must see: tg://INSTANCE/controller/main.
inline constexpr std::string_view kControllerId = "main";

// CaFiles is the authority as PEM. The two keys are secrets.
struct CaFiles {
  std::string root_key;
  std::string root;
  std::string issuing_key;
  std::string issuing;
};

// Issued is a new leaf.
struct Issued {
  std::string uri;          // its SAN, tg://INSTANCE/ROLE/ID
  std::string chain;        // PEM: leaf and issuing CA
  std::string thumbprint;   // RFC 7638, of the leaf's key
  UnixTime not_after{};
};

// Pki signs. No clock of its own; randomness for keys and serial numbers is BoringSSL's.
class Pki {
 public:
  static Result<Pki> create(UnixTime now, Lifetimes lifetimes = {});
  // load errors: malformed, also when the parts do not belong together.
  static Result<Pki> load(const CaFiles& files, Lifetimes lifetimes = {});
  ~Pki();
  Pki(Pki&&) noexcept;
  Pki& operator=(Pki&&) noexcept;

  const CaFiles& files() const noexcept;
  // instance is "tg-" and the first 8 hex digits of pin().
  const std::string& instance() const noexcept;
  // pin is the SHA-256 of the root's SubjectPublicKeyInfo, as in RFC 7469 section 2.4.
  const Buffer& pin() const noexcept;

  const Lifetimes& lifetimes() const noexcept;

  // renew_issuing makes a new issuing CA when more than half of the life of the present one is over, or of the one that it would
  // have now, or when it is from the future, and then returns true: files() has changed.
  Result<bool> renew_issuing(UnixTime now);

  // issue signs a leaf for the key of a PKCS#10 request; everything else in the request is ignored. `role`: device,
  // connector, relay or controller. Errors: malformed when the request is not one, its key not P-256, or its signature
  // wrong.
  // `hosts`: names and addresses that it is for as well, in canonical form.
  Result<Issued> issue(std::string_view role, std::string_view id, const std::string& csr, UnixTime now,
                       const std::vector<std::string>& hosts = {}) const;
  // own returns credentials with a fresh key for a process of the controller's own.
  Result<net::Credentials> own(std::string_view role, std::string_view id, UnixTime now, const std::vector<std::string>& hosts = {}) const;

 private:
  struct State;
  explicit Pki(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// csr_thumbprint checks a request as issue() does, and returns the thumbprint of its key.
Result<std::string> csr_thumbprint(const std::string& csr);

}  // namespace tg::controller
