#include "cmd/controller/pki.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "cmd/controller/certificate.h"
#include "core/encoding.h"
#include "net/keys.h"

namespace tg::controller {

struct Pki::State {
  CaFiles files;
  bssl::UniquePtr<EVP_PKEY> root_key;
  bssl::UniquePtr<X509> root;
  bssl::UniquePtr<EVP_PKEY> issuing_key;
  bssl::UniquePtr<X509> issuing;
  Buffer pin;
  std::string instance;
  Lifetimes lifetimes;

  Result<> make_root(UnixTime now);
  Result<> make_issuing(UnixTime now);
  void name() {
    pin = spki_sha256(root.get());
    instance = "tg-" + hex(Bytes(pin).first(4));
  }
};

Result<> Pki::State::make_root(UnixTime now) {
  auto pem = net::new_key_pem();
  if (!pem) return pass_on(pem);
  auto key = key_from_pem(*pem);
  if (!key) return pass_on(key);
  const CertificateSpec spec{"tg root", "", now - kBackdated, now + kRootLifetime, 1};
  auto made = sign_certificate(spec, key->get(), nullptr, key->get());
  if (!made) return pass_on(made);
  auto text = to_pem(made->get());
  if (!text) return pass_on(text);
  files.root_key = std::move(*pem);
  files.root = std::move(*text);
  root_key = std::move(*key);
  root = std::move(*made);
  name();
  return {};
}

Result<> Pki::State::make_issuing(UnixTime now) {
  auto pem = net::new_key_pem();
  if (!pem) return pass_on(pem);
  auto key = key_from_pem(*pem);
  if (!key) return pass_on(key);
  const CertificateSpec spec{"tg issuing CA of " + instance, "", now - backdated(lifetimes.issuing), now + lifetimes.issuing, 0};
  auto made = sign_certificate(spec, key->get(), root.get(), root_key.get());
  if (!made) return pass_on(made);
  auto text = to_pem(made->get());
  if (!text) return pass_on(text);
  files.issuing_key = std::move(*pem);
  files.issuing = std::move(*text);
  issuing_key = std::move(*key);
  issuing = std::move(*made);
  return {};
}

Pki::Pki(std::unique_ptr<State> state) : state_(std::move(state)) {}
Pki::~Pki() = default;
Pki::Pki(Pki&&) noexcept = default;
Pki& Pki::operator=(Pki&&) noexcept = default;

Result<Pki> Pki::create(UnixTime now, Lifetimes lifetimes) {
  auto state = std::make_unique<State>();
  state->lifetimes = lifetimes;
  if (auto made = state->make_root(now); !made) return pass_on(made);
  if (auto made = state->make_issuing(now); !made) return pass_on(made);
  return Pki(std::move(state));
}

Result<Pki> Pki::load(const CaFiles& files, Lifetimes lifetimes) {
  auto root_key = key_from_pem(files.root_key);
  auto root = certificate_from_pem(files.root);
  auto issuing_key = key_from_pem(files.issuing_key);
  auto issuing = certificate_from_pem(files.issuing);
  if (!root_key || !root || !issuing_key || !issuing) {
    return fail(Errc::malformed,
                "the stored certificate authority can't be read; restore the state directory from a backup");
  }
  const bool belongs = X509_check_private_key(root->get(), root_key->get()) == 1 &&
                       X509_check_private_key(issuing->get(), issuing_key->get()) == 1 &&
                       X509_verify(issuing->get(), root_key->get()) == 1;
  if (!belongs) {
    return fail(Errc::malformed,
                "the parts of the stored certificate authority do not belong together; restore the state directory "
                "from a backup");
  }
  auto state = std::make_unique<State>();
  state->files = files;
  state->lifetimes = lifetimes;
  state->root_key = std::move(*root_key);
  state->root = std::move(*root);
  state->issuing_key = std::move(*issuing_key);
  state->issuing = std::move(*issuing);
  state->name();
  return Pki(std::move(state));
}

const CaFiles& Pki::files() const noexcept { return state_->files; }
const std::string& Pki::instance() const noexcept { return state_->instance; }
const Buffer& Pki::pin() const noexcept { return state_->pin; }
const Lifetimes& Pki::lifetimes() const noexcept { return state_->lifetimes; }

Result<bool> Pki::renew_issuing(UnixTime now) {
  const UnixTime from = not_before(state_->issuing.get());
  const UnixTime to = not_after(state_->issuing.get());
  const auto whole = std::min<std::chrono::seconds>(to - from, state_->lifetimes.issuing + backdated(state_->lifetimes.issuing));
  if (now >= from && now < from + whole / 2) return false;
  if (auto made = state_->make_issuing(now); !made) return pass_on(made);
  return true;
}

Result<Issued> Pki::issue(std::string_view role, std::string_view id, const std::string& csr, UnixTime now,
                          const std::vector<std::string>& hosts) const {
  auto key = key_of_request(csr);
  if (!key) return pass_on(key);
  auto print = thumbprint(key->get());
  if (!print) return pass_on(print);
  CertificateSpec spec;
  spec.hosts = hosts;
  spec.common_name = std::string(role) + " " + std::string(id);
  spec.uri = net::to_uri({state_->instance, std::string(role), std::string(id), {}, {}, {}});
  if (auto sane = net::parse_uri(spec.uri); !sane) {
    return fail(Errc::invalid_argument, "no certificate for " + spec.uri);
  }
  spec.not_before = now - backdated(state_->lifetimes.leaf);
  spec.not_after = std::min(now + state_->lifetimes.leaf, not_after(state_->issuing.get()));
  spec.client = role != "controller";
  spec.server = role != "device";
  auto leaf = sign_certificate(spec, key->get(), state_->issuing.get(), state_->issuing_key.get());
  if (!leaf) return pass_on(leaf);
  auto pem = to_pem(leaf->get());
  if (!pem) return pass_on(pem);
  return Issued{spec.uri, *pem + state_->files.issuing, std::move(*print), spec.not_after};
}

Result<net::Credentials> Pki::own(std::string_view role, std::string_view id, UnixTime now, const std::vector<std::string>& hosts) const {
  auto key = net::new_key_pem();
  if (!key) return pass_on(key);
  auto csr = net::make_csr(*key);
  if (!csr) return pass_on(csr);
  auto issued = issue(role, id, *csr, now, hosts);
  if (!issued) return pass_on(issued);
  return net::Credentials{std::move(*key), std::move(issued->chain), state_->files.root};
}

Result<std::string> csr_thumbprint(const std::string& csr) {
  auto key = key_of_request(csr);
  if (!key) return pass_on(key);
  return thumbprint(key->get());
}

}  // namespace tg::controller
