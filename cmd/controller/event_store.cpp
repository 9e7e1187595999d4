#include "cmd/controller/event_store.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/json.h"
#include "net/loop.h"

namespace tg::controller {
namespace {

constexpr int kSchemaVersion = 1;
constexpr std::int64_t kSpoolsOfOne = 8;             // that a connector may still send again
constexpr std::size_t kAnswer = 4u << 20;            // bytes

// Numbers are never used twice, also when every event is gone (AUTOINCREMENT): whoever follows goes by them.
constexpr const char* kSchema = R"sql(
  CREATE TABLE event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, kept INTEGER NOT NULL, kind INTEGER NOT NULL,
    user TEXT NOT NULL, device TEXT NOT NULL, resource TEXT NOT NULL, connector TEXT NOT NULL, text TEXT NOT NULL) STRICT;
  CREATE INDEX event_time ON event (time);
  CREATE INDEX event_kind ON event (kind);
  CREATE INDEX event_user ON event (user);
  CREATE INDEX event_device ON event (device);
  CREATE INDEX event_resource ON event (resource);
  CREATE INDEX event_connector ON event (connector);
  CREATE TABLE spool (
    connector TEXT NOT NULL, spool TEXT NOT NULL, through INTEGER NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (connector, spool)) STRICT, WITHOUT ROWID;
)sql";

std::int64_t signed_number(std::uint64_t n) { return static_cast<std::int64_t>(n); }

// conditions are those of a filter, with the places ?3 to ?8.
std::string conditions(const EventFilter& f) {
  std::string out;
  if (!f.user.empty()) out += " AND user = ?3";
  if (!f.device.empty()) out += " AND device = ?4";
  if (!f.resource.empty()) out += " AND resource = ?5";
  if (!f.connector.empty()) out += " AND connector = ?6";
  if (f.since) out += " AND time >= ?7";
  if (f.until) out += " AND time < ?8";
  if (f.kinds.empty()) return out;
  std::string kinds;
  for (const ConnectionEvent::Kind k : f.kinds) kinds += fmt::format("{}{}", kinds.empty() ? "" : ", ", static_cast<int>(k));
  return out + " AND kind IN (" + kinds + ")";
}

std::int64_t milliseconds(const std::optional<UnixTime>& t) {
  return t ? std::chrono::duration_cast<Milliseconds>(t->time_since_epoch()).count() : 0;
}

// Reader looks through one stretch of numbers after the other.
struct Reader {
  Database& db;
  const EventFilter& filter;
  std::string sql;
  std::size_t most;
  EventPage page{};
  std::size_t bytes = 0;
  const Instant until;

  Reader(Database& d, const EventFilter& f, const char* order, std::size_t m, Duration patience)
      : db(d), filter(f),
        sql(fmt::format("SELECT number, text FROM event WHERE number > ?1 AND number <= ?2{} ORDER BY number {} LIMIT ?9",
                        conditions(f), order)),
        most(m), until(net::Loop::now() + patience) {}

  // read looks through (above, to], and returns whether it came to the end of that.
  Result<bool> read(std::uint64_t above, std::uint64_t to) {
    std::size_t left = most - page.events.size();
    bool whole = true;
    const auto take = [&](const Row& row) {
      if (!whole) return;
      std::string text = row.text(1);
      bytes += text.size();
      page.reached = static_cast<std::uint64_t>(row.number(0));
      auto event = parse_json(text);
      if (!event || !event->is_object()) event = Json::object();   // somebody has altered the file
      (*event)["number"] = page.reached;
      page.events.push_back(std::move(*event));
      whole = --left > 0 && bytes < kAnswer;
    };
    auto done = db.each(sql.c_str(), {signed_number(above), signed_number(to), filter.user, filter.device, filter.resource,
                                      filter.connector, milliseconds(filter.since), milliseconds(filter.until), signed_number(left)},
                        take);
    if (!done) return pass_on(done);
    return whole;
  }
  bool tired() const { return net::Loop::now() >= until; }
};

}  // namespace

Result<EventStore> EventStore::open(const std::string& path, Effort effort) {
  auto db = Database::open(path);
  if (!db) return pass_on(db);
  EventStore out(std::move(*db), effort);
  auto version = out.number("PRAGMA user_version");
  if (!version) return pass_on(version);
  if (*version > kSchemaVersion) return fail(Errc::unsupported, path + " was written by a newer tg");
  if (*version == 0) {
    auto transaction = Transaction::begin(out.db_);
    if (!transaction) return pass_on(transaction);
    auto made = out.db_.script(kSchema);
    if (made) made = out.db_.script(fmt::format("PRAGMA user_version = {}", kSchemaVersion).c_str());
    if (made) made = transaction->commit();
    if (!made) return pass_on(made);
  }
  auto last = out.number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'");
  if (!last) return pass_on(last);
  auto kept = out.number("SELECT coalesce((SELECT kept FROM event ORDER BY number DESC LIMIT 1), 0)");
  if (!kept) return pass_on(kept);
  out.last_ = static_cast<std::uint64_t>(*last);
  out.kept_ = *kept;
  return out;
}

Result<std::int64_t> EventStore::number(const char* sql, std::initializer_list<Value> values) {
  std::int64_t out = 0;
  auto read = db_.each(sql, values, [&](const Row& row) { out = row.number(0); });
  if (!read) return pass_on(read);
  return out;
}

Result<> EventStore::keep(const std::vector<EventBatch>& batches, UnixTime now) {
  auto transaction = Transaction::begin(db_);
  if (!transaction) return pass_on(transaction);
  kept_ = std::max(kept_, std::int64_t{now.time_since_epoch().count()});
  for (const EventBatch& b : batches) {
    if (auto kept = keep_one(b, now); !kept) return kept;
  }
  auto last = number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'");
  if (!last) return pass_on(last);
  if (auto done = transaction->commit(); !done) return done;
  last_ = static_cast<std::uint64_t>(*last);
  return {};
}

Result<> EventStore::keep_one(const EventBatch& batch, UnixTime now) {
  auto had = number("SELECT coalesce(max(through), 0) FROM spool WHERE connector = ? AND spool = ?",
                    {batch.connector, batch.spool});
  if (!had) return pass_on(had);
  const auto through = static_cast<std::uint64_t>(*had);
  for (std::size_t i = 0; i < batch.events.size(); ++i) {
    if (batch.first + i <= through || !batch.events[i]) continue;
    const RecordedEvent& e = *batch.events[i];
    Json j = to_json(e);
    j.erase("number");
    const std::int64_t time = std::min<std::int64_t>(e.event.time.count(), milliseconds(now));
    auto added = db_.run("INSERT INTO event (time, kept, kind, user, device, resource, connector, text) "
                         "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                         {time, kept_, std::int64_t{static_cast<std::uint8_t>(e.event.kind)}, e.event.user, e.event.device,
                          e.event.resource_name, e.connector_name, json_text(j)});
    if (!added) return pass_on(added);
  }
  if (batch.through() <= through) return {};
  auto noted = db_.run("INSERT INTO spool SELECT ?1, ?2, ?3, coalesce(max(used), 0) + 1 FROM spool WHERE connector = ?1 "
                       "ON CONFLICT (connector, spool) DO UPDATE SET through = excluded.through, used = excluded.used",
                       {batch.connector, batch.spool, signed_number(batch.through())});
  if (!noted) return pass_on(noted);
  if (through > 0) return {};
  auto fewer = db_.run("DELETE FROM spool WHERE connector = ?1 AND spool NOT IN (SELECT spool FROM spool WHERE connector = ?1 "
                       "ORDER BY used DESC LIMIT ?2)", {batch.connector, kSpoolsOfOne});
  if (!fewer) return pass_on(fewer);
  return {};
}

Result<std::uint64_t> EventStore::first() {
  auto first = number("SELECT coalesce((SELECT number FROM event ORDER BY number LIMIT 1), 0)");
  if (!first) return pass_on(first);
  return static_cast<std::uint64_t>(*first);
}

// floor_of returns a number above which everything is that a filter lets through. What came before its `since` is of before
// then, too, and when events came never goes back.
Result<std::uint64_t> EventStore::floor_of(const EventFilter& filter) {
  auto first = this->first();
  if (!first) return pass_on(first);
  if (*first == 0) return last_;
  if (!filter.since) return *first - 1;
  std::uint64_t low = *first, high = last_ + 1;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    auto kept = number("SELECT coalesce((SELECT kept FROM event WHERE number >= ? ORDER BY number LIMIT 1), 9223372036854775807)",
                       {signed_number(middle)});
    if (!kept) return pass_on(kept);
    if (*kept >= filter.since->time_since_epoch().count()) high = middle;
    else low = middle + 1;
  }
  return low - 1;
}

Result<EventPage> EventStore::before(const EventFilter& filter, std::uint64_t number, std::size_t most) {
  auto floor = floor_of(filter);
  if (!floor) return pass_on(floor);
  Reader reader(db_, filter, "DESC", most, effort_.patience);
  std::uint64_t to = std::min(number - std::min<std::uint64_t>(number, 1), last_);
  reader.page.reached = to + 1;
  while (to > *floor) {
    const std::uint64_t above = std::max(*floor, to - std::min(to, effort_.stretch));
    auto whole = reader.read(above, to);
    if (!whole) return pass_on(whole);
    if (!*whole) return std::move(reader.page);
    reader.page.reached = above + 1;
    to = above;
    if (to > *floor && reader.tired()) return std::move(reader.page);
  }
  reader.page.done = true;
  return std::move(reader.page);
}

Result<EventPage> EventStore::after(const EventFilter& filter, std::uint64_t number, std::size_t most) {
  auto floor = floor_of(filter);
  if (!floor) return pass_on(floor);
  Reader reader(db_, filter, "ASC", most, effort_.patience);
  std::uint64_t above = std::max(number, *floor);
  reader.page.reached = above;
  while (above < last_) {
    const std::uint64_t to = std::min(last_, above + effort_.stretch);
    auto whole = reader.read(above, to);
    if (!whole) return pass_on(whole);
    if (!*whole) return std::move(reader.page);
    reader.page.reached = above = to;
    if (above < last_ && reader.tired()) return std::move(reader.page);
  }
  reader.page.done = true;
  return std::move(reader.page);
}

Result<std::uint64_t> EventStore::bytes() {
  auto pages = number("PRAGMA page_count");
  auto unused = number("PRAGMA freelist_count");
  auto size = number("PRAGMA page_size");
  for (const auto* n : {&pages, &unused, &size}) {
    if (!*n) return tl::unexpected(n->error());
  }
  return static_cast<std::uint64_t>((*pages - *unused) * *size);
}

Result<std::size_t> EventStore::purge(UnixTime oldest, std::uint64_t most_bytes, std::size_t most) {
  auto old = db_.run("DELETE FROM event WHERE number IN (SELECT number FROM event WHERE time < ? ORDER BY time LIMIT ?)",
                     {milliseconds(oldest), signed_number(most)});
  if (!old) return pass_on(old);
  auto size = bytes();
  if (!size) return pass_on(size);
  if (*size <= most_bytes) return static_cast<std::size_t>(*old);
  auto more = db_.run("DELETE FROM event WHERE number IN (SELECT number FROM event ORDER BY number LIMIT ?)",
                      {signed_number(most)});
  if (!more) return pass_on(more);
  return static_cast<std::size_t>(*old + *more);
}

}  // namespace tg::controller
