// The connection events that the controller keeps: a database of their own, so that they burden neither the other one nor its
// backups.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cmd/controller/database.h"
#include "core/connection_event.h"
#include "core/time.h"

namespace tg::controller {

// EventBatch is what one connector has sent at once. Events are numbered from `first` in its spool; one that made no sense is
// missing, and has its number.
struct EventBatch {
  std::string connector;                     // its id
  std::string spool;
  std::uint64_t first = 1;
  std::vector<std::optional<RecordedEvent>> events;
  std::uint64_t through() const noexcept { return first + events.size() - 1; }
};

// EventFilter says which events are asked for; what is empty does not matter.
struct EventFilter {
  std::string user;
  std::string device;                        // id
  std::string resource;                      // names as they were then
  std::string connector;
  std::vector<ConnectionEvent::Kind> kinds;
  std::optional<UnixTime> since, until;      // from `since` to before `until`
};

// EventPage is an answer, which may be a part of one: every event between where the question began and `reached` was looked at.
struct EventPage {
  std::vector<Json> events;
  std::uint64_t reached = 0;
  bool done = false;                         // there is no more
};

// EventStore: what keep() acknowledged has been synced. Errors are those of Database. Not thread-safe.
class EventStore {
 public:
  // Effort is how much one answer looks through at least, in numbers of events, and how long it goes on with as many more.
  struct Effort {
    std::uint64_t stretch = 16'384;
    Duration patience = std::chrono::milliseconds(20);
  };
  // open makes the tables in an empty file. Errors: unsupported when a newer tg wrote it.
  static Result<EventStore> open(const std::string& path, Effort effort);
  static Result<EventStore> open(const std::string& path) { return open(path, Effort()); }

  // keep adds those that it does not have yet, all or none. An event from the future is found as one of `now`.
  Result<> keep(const std::vector<EventBatch>& batches, UnixTime now);

  // before returns events below `number`, the newest first; after those above it, the oldest first: up to `most`, about 4
  // MiB, and what can be looked through in some milliseconds.
  Result<EventPage> before(const EventFilter& filter, std::uint64_t number, std::size_t most);
  Result<EventPage> after(const EventFilter& filter, std::uint64_t number, std::size_t most);

  // purge takes out up to `most` events that are older than `oldest`, and as many of the oldest while there are more than
  // `bytes`. It returns how many went.
  Result<std::size_t> purge(UnixTime oldest, std::uint64_t bytes, std::size_t most);

  std::uint64_t last() const noexcept { return last_; }    // the highest number that there was; 0: none yet
  Result<std::uint64_t> first();                          // the lowest that there is; 0: none
  Result<std::uint64_t> bytes();                          // in use in the file
  const std::optional<Error>& broken() const noexcept { return db_.broken(); }

 private:
  EventStore(Database db, Effort effort) : db_(std::move(db)), effort_(effort) {}
  Result<> keep_one(const EventBatch& batch, UnixTime now);
  Result<std::int64_t> number(const char* sql, std::initializer_list<Value> values = {});
  Result<std::uint64_t> floor_of(const EventFilter& filter);

  Database db_;
  Effort effort_;
  std::uint64_t last_ = 0;
  std::int64_t kept_ = 0;                    // when the last one came; it never goes back
};

}  // namespace tg::controller
