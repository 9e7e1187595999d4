// Whether DNS servers answer.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/json_fwd.h"
#include "core/time.h"
#include "dns/message.h"
#include "net/forwarder.h"

namespace tg::cmd {

// DnsHealth is how one server took a question. Any reply to it is an answer, whatever its rcode.
struct DnsHealth {
  Endpoint server;
  bool tcp = false;
  std::optional<Duration> took;      // nothing: no answer in time
  std::uint16_t rcode = 0;
};
// {"server", "tcp", "answers", "rcode", "ms"}
Json to_json(const DnsHealth& h);

// DnsProbe asks each server one question.
class DnsProbe {
 public:
  // root_servers is the question for the name servers of the root (RFC 8109 section 3.2), which every resolver can
  // answer.
  static dns::Question root_servers() { return {dns::Name(), dns::kTypeNs}; }

  // `done` is called once, from the Loop, `patience` later at the latest. It may destroy the DnsProbe, and so cancel
  // it.
  DnsProbe(net::Loop& loop, const std::vector<Endpoint>& servers, const dns::Question& question, bool tcp,
           Duration patience, std::function<void(std::vector<DnsHealth>)> done);
  ~DnsProbe();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg::cmd
