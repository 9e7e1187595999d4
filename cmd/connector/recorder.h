// What a connector's sessions have recorded of their flows.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/connection_event.h"
#include "core/log_quota.h"

namespace tg::connector {

// Recorder keeps the events of all sessions, with their time, until they are taken. What a device is refused, or fails in, costs
// it nothing and comes by the thousand: of each of the two it has as many events as it has lines of the log, and the next one
// says how many were left out. Thread-safe: sessions record on the threads of their workers.
class Recorder {
 public:
  // Counts is what has happened since the start, by protocol and by reason.
  struct Counts {
    std::map<Protocol, std::uint64_t> established;
    std::map<std::string, std::uint64_t> denied, failed;
  };
  // Taken is what was recorded since the last time. `lost`: how many there was no room for.
  struct Taken {
    std::vector<ConnectionEvent> events;
    std::uint64_t lost = 0;
  };
  static constexpr std::size_t kMost = 65'536;   // that are kept: who takes them may wait for the disk

  // `flow`: a random number, from which those of flows go on. `news` is called on the recording thread when there is something
  // to take and there was nothing before.
  Recorder(std::uint64_t flow, std::function<void()> news) : flow_(flow), news_(std::move(news)) {}

  std::uint64_t new_flow();   // is never 0
  void record(ConnectionEvent e);
  Taken take();
  Counts counts() const;

 private:
  void count(const ConnectionEvent& e);

  mutable std::mutex mutex_;   // for all that follows, but news_
  std::uint64_t flow_;
  Taken kept_;
  LogQuota denied_, failed_;
  Counts counts_;
  const std::function<void()> news_;
};

}  // namespace tg::connector
