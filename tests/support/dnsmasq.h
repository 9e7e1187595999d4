// A dnsmasq of the test's own on loopback.
#pragma once

#include <string>
#include <vector>

#include "core/ip.h"
#include "tests/support/folder.h"

namespace tg::test {

// Dnsmasq runs from its making to its end, on 127.0.0.1 and a free port, in a temporary folder, without the machine's
// configuration. It dies with the test, also when that crashes.
class Dnsmasq {
 public:
  // `options`: as on its command line, "--host-record=…". error() says why it does not run.
  explicit Dnsmasq(const std::vector<std::string>& options);
  ~Dnsmasq();
  Dnsmasq(const Dnsmasq&) = delete;
  Dnsmasq& operator=(const Dnsmasq&) = delete;

  const std::string& error() const noexcept { return error_; }
  const Endpoint& endpoint() const noexcept { return endpoint_; }

 private:
  bool start(const std::vector<std::string>& options);
  void kill_and_wait();

  Folder folder_;
  std::string error_;
  Endpoint endpoint_;
  int pid_ = -1;
};

}  // namespace tg::test
