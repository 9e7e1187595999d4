// The record of who used what: taken from connectors, kept for a while, told to administrators.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "cmd/controller/event_store.h"
#include "cmd/controller/model.h"
#include "core/json_fwd.h"
#include "core/log_quota.h"
#include "net/loop.h"

namespace tg::controller {

struct EventsSettings {
  std::chrono::seconds keep = std::chrono::hours(30 * 24);
  std::uint64_t bytes = 1024u << 20;
};

// describe adds what the controller knows of an event whose connector's id is set: names, the network, and the groups (a few
// dozen at most) by which the user reaches the Resource. What the connector says of itself is not asked. Pure.
void describe(const Model& model, RecordedEvent& event);

// event_batch checks what a connector sent:
//   {"type":"events","spool":16 hex digits,"first":N,"events":[…]}
// Its `connector` is left to the caller. An event that makes no sense is missing. Errors: protocol. Pure.
Result<EventBatch> event_batch(const Json& message);

// Events never stands in the way of anything else: what it takes in costs a quarter of the controller's time at most, and
// while its database can't be used it keeps nothing, acknowledges nothing, says so, and tries again. Connectors then keep
// what they have.
class Events {
 public:
  // `model`: what is true now; `answer`: says a message to a connector, if that is there.
  Events(net::Loop& loop, std::string path, EventsSettings settings, std::function<const Model&()> model,
         std::function<void(const std::string& connector, const Json&)> answer);

  // take has what a connector sent kept, and then answered by {"type":"events_kept","spool":…,"through":N}. Of each connector one
  // message waits; the next one takes its place. Errors: protocol.
  Result<> take(const std::string& connector, const Json& message);

  // last is the number of the newest event.
  std::uint64_t last() const noexcept { return store_ ? store_->last() : 0; }
  // query answers an administrator; see admin_api.h. Errors: malformed, not_found, conflict, and those of EventStore.
  Result<Json> query(const Json& request);
  Json status();

 private:
  void turn();
  void upkeep();
  bool usable();
  void failed(const Error& e);

  net::Loop& loop_;
  std::string path_;
  EventsSettings settings_;
  std::function<const Model&()> model_;
  std::function<void(const std::string&, const Json&)> answer_;
  std::optional<EventStore> store_;
  std::string problem_;                    // why nothing is kept; "" while all is well
  Instant open_again_{};
  std::map<std::string, EventBatch> waiting_;   // by connector
  LogQuota lines_;                         // of the log, about what connectors send
  std::string served_;                     // the last one whose turn it was
  Instant turn_again_{};
  net::Timer turn_, upkeep_;
};

}  // namespace tg::controller
