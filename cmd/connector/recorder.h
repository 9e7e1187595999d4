// What a connector's sessions have recorded of their flows.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "core/connection_event.h"
#include "core/log_quota.h"

namespace tg::connector {

// Recorder hands on the events of all sessions, with their time. What a device is refused, or fails in, costs it nothing and
// comes by the thousand: of each of the two it has as many events as it has lines of the log, and the next one says how many
// were left out.
class Recorder {
 public:
  // Counts is what has happened since the start, by protocol and by reason. The bytes are those of flows that are closed.
  struct Counts {
    std::map<Protocol, std::uint64_t> established;
    std::map<std::string, std::uint64_t> denied, failed;
    std::uint64_t up = 0, down = 0;
  };
  const Counts& counts() const noexcept { return counts_; }

  // `flow`: a random number, from which those of flows go on.
  Recorder(std::uint64_t flow, std::function<void(const ConnectionEvent&)> keep) : flow_(flow), keep_(std::move(keep)) {}

  std::uint64_t new_flow() noexcept { return ++flow_ == 0 ? ++flow_ : flow_; }
  void record(ConnectionEvent e);

 private:
  void count(const ConnectionEvent& e);

  std::uint64_t flow_;
  std::function<void(const ConnectionEvent&)> keep_;
  LogQuota denied_, failed_;
  Counts counts_;
};

}  // namespace tg::connector
