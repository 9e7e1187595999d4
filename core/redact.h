// Text that somebody will post in public, without what is nobody else's business.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip.h"

namespace tg {

// Redactor writes placeholders for secrets and, unless told otherwise, for people, names and addresses. One thing has
// one placeholder throughout a Redactor's life, so that what belongs together can still be seen: "private-1" is always
// the same address. Secrets are tokens, private keys and certificates (PEM), grants (JWS), and everything of 40 letters
// and digits running. No I/O.
class Redactor {
 public:
  enum class Keep : bool { nothing, names_and_addresses };   // secrets are never kept

  explicit Redactor(Keep keep = Keep::nothing) : keep_(keep) {}

  // hide adds a name to be hidden wherever it stands, as it is written, as a word or words of its own. Dotted names,
  // e-mail addresses and IP addresses are found without being told. Below three characters a name is passed over.
  void hide(std::string_view name);
  // show leaves the addresses of a network as they are: those that say nothing about anybody.
  void show(const Cidr& network) { shown_.push_back(network); }

  std::string apply(std::string_view text);

 private:
  std::string placeholder(const char* kind, std::string_view what);
  std::string address(const IpAddress& ip, std::string_view written);
  std::string word(std::string_view w, bool in_path);

  Keep keep_;
  std::vector<std::string> hidden_;                  // longest first
  std::vector<Cidr> shown_;
  std::map<std::string, std::string> placeholders_;  // by kind and thing
  std::map<std::string, int> counts_;                // by kind
};

}  // namespace tg
