#include "cmd/controller/events.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/json.h"
#include "core/text.h"
#include "net/log.h"

namespace tg::controller {
namespace {

constexpr std::uint64_t kNumberMax = 1ull << 62;
constexpr std::size_t kBatchMost = 1024;                         // events in one message
constexpr std::size_t kTurnMost = 1024;                          // and in one transaction, unless one message has more
constexpr std::size_t kGroupsMost = 32;                          // that one event names
constexpr std::uint64_t kEventsMost = 1000;                      // in one answer
constexpr std::size_t kPurgeMost = 512;                          // events in one step
constexpr Duration kEventsUpkeep = std::chrono::seconds(5);
constexpr Duration kUpkeepMore = std::chrono::milliseconds(50);  // while there is more to take out
constexpr Duration kAgain = std::chrono::seconds(5);             // after a failure
constexpr std::uint64_t kLastMoment = 253'402'300'799;

bool has(const std::vector<std::string>& sorted, const std::string& one) {
  return std::binary_search(sorted.begin(), sorted.end(), one);
}

Result<std::string> device_named(const Model& model, const std::string& name) {
  if (name.empty() || model.device(name) != nullptr) return name;
  std::string found;
  for (const DeviceRecord& d : model.devices) {
    if (d.name != name) continue;
    if (!found.empty()) {
      return fail(Errc::conflict, fmt::format("several devices are called \"{}\"; use the id, see: tg controller device list", name));
    }
    found = d.id;
  }
  const bool id = name.size() == 16 && name.find_first_not_of("0123456789abcdef") == std::string::npos;   // of one that is gone
  if (found.empty() && !id) {
    return fail(Errc::not_found, fmt::format("there is no device \"{}\"; one that is gone is found by its id", name));
  }
  return found.empty() ? name : found;
}

Result<EventFilter> filter_of(const Model& model, const Json& request) {
  Fields f(request, "events");
  EventFilter out;
  out.user = lower(f.text_or_empty("user"));
  const std::string device = f.text_or_empty("device");
  out.resource = f.text_or_empty("resource");
  out.connector = f.text_or_empty("connector");
  if (f.has("kinds")) {
    for (const std::string& name : f.texts("kinds", 16)) {
      if (const auto kind = event_kind_named(name)) out.kinds.push_back(*kind);
      else f.refuse("kinds", "has an unknown one");
    }
  }
  if (f.has("since")) out.since = UnixTime(std::chrono::seconds(f.number("since", kLastMoment)));
  if (f.has("until")) out.until = UnixTime(std::chrono::seconds(f.number("until", kLastMoment)));
  if (!f.ok()) return f.error();
  auto id = device_named(model, device);
  if (!id) return pass_on(id);
  out.device = std::move(*id);
  return out;
}

}  // namespace

void describe(const Model& model, RecordedEvent& r) {
  ConnectionEvent& e = r.event;
  if (const ConnectorRecord* connector = model.connector(r.connector)) {
    r.connector_name = connector->name;
    r.network = connector->network;
  }
  if (const DeviceRecord* device = model.device(e.device)) {
    r.device_name = device->name;
    if (e.user.empty()) e.user = device->user;
  }
  const auto& all = model.resources;   // sorted by id
  const auto resource = std::lower_bound(all.begin(), all.end(), e.resource,
                                         [](const ResourceRecord& one, ResourceId id) { return one.resource.id < id; });
  if (resource == all.end() || resource->resource.id != e.resource || resource->resource.network != r.network) return;
  for (const std::string& name : resource->groups) {
    const auto g = std::lower_bound(model.groups.begin(), model.groups.end(), name,   // sorted by name
                                    [](const GroupRecord& one, const std::string& n) { return one.name < n; });
    if (g == model.groups.end() || g->name != name || r.groups.size() == kGroupsMost) continue;
    if (has(g->members, e.user) || has(g->by_claim, e.user)) r.groups.push_back(name);
  }
}

Result<EventBatch> event_batch(const Json& message) {
  Fields f(message, "events");
  EventBatch out;
  out.spool = f.text("spool", 16);
  out.first = f.number("first", kNumberMax);
  const Json* events = f.any("events");
  const bool list = events != nullptr && events->is_array() && !events->empty() && events->size() <= kBatchMost;
  if (f.ok() && !list) f.refuse("events", "is no list of likely length");
  if (f.ok() && (out.spool.size() != 16 || out.spool.find_first_not_of("0123456789abcdef") != std::string::npos)) {
    f.refuse("spool", "is not 16 hexadecimal digits");
  }
  if (f.ok() && out.first == 0) f.refuse("first", "is 0");
  if (!f.ok()) return fail(Errc::protocol, f.error().value().text);
  for (const Json& one : *events) {
    auto event = connection_event_from_json(one);
    if (event) out.events.push_back(RecordedEvent{.event = std::move(*event)});
    else out.events.push_back(std::nullopt);
  }
  return out;
}

Events::Events(net::Loop& loop, std::string path, EventsSettings settings, std::function<const Model&()> model,
               std::function<void(const std::string&, const Json&)> answer)
    : loop_(loop), path_(std::move(path)), settings_(settings), model_(std::move(model)), answer_(std::move(answer)) {
  turn_ = net::Timer(loop_, [this] { turn(); });
  upkeep_ = net::Timer(loop_, [this] { upkeep(); });
  usable();
  upkeep_.after(kEventsUpkeep);
}

// usable opens the database where it is not, now and then.
bool Events::usable() {
  if (store_ && !store_->broken()) return true;
  if (net::Loop::now() < open_again_) return false;
  open_again_ = net::Loop::now() + kAgain;
  store_.reset();
  auto opened = EventStore::open(path_);
  if (!opened) failed(opened.error());
  else store_.emplace(std::move(*opened));
  return store_.has_value();
}

void Events::failed(const Error& e) {
  if (problem_ != e.text) net::log(net::Level::error, "connection events are not kept: {}", printable(e.text, 1000));
  problem_ = e.text;
}

Result<> Events::take(const std::string& connector, const Json& message) {
  auto batch = event_batch(message);
  if (!batch) return pass_on(batch);
  batch->connector = connector;
  const auto missing = std::count(batch->events.begin(), batch->events.end(), std::nullopt);
  if (missing > 0 && lines_.take(connector, net::Loop::now())) {
    net::log(net::Level::warning, "connector {} sent {} events that make no sense", connector, missing);
  }
  waiting_.insert_or_assign(connector, std::move(*batch));
  turn_.at(std::max(net::Loop::now(), turn_again_));
  return {};
}

// turn keeps what waits, in one transaction, and then leaves three times as much time to others.
void Events::turn() {
  if (waiting_.empty()) return;
  const Instant start = net::Loop::now();
  const auto rest = [&](Duration least) {
    const Instant now = net::Loop::now();
    turn_again_ = now + std::max(least, 3 * (now - start));
    if (!waiting_.empty()) turn_.at(turn_again_);
  };
  if (!usable()) return rest(kAgain);
  std::vector<EventBatch> batches;
  std::size_t events = 0;
  auto at = waiting_.upper_bound(served_);
  for (std::size_t i = 0; i < waiting_.size(); ++i, ++at) {
    if (at == waiting_.end()) at = waiting_.begin();
    const auto& [connector, batch] = *at;
    if (!batches.empty() && events + batch.events.size() > kTurnMost) break;
    events += batch.events.size();
    batches.push_back(batch);
    served_ = connector;
    for (auto& event : batches.back().events) {
      if (!event) continue;
      event->connector = connector;
      describe(model_(), *event);
    }
  }
  if (auto kept = store_->keep(batches, net::Loop::wall()); !kept) {
    failed(kept.error());
    return rest(kAgain);
  }
  if (!problem_.empty()) net::log(net::Level::info, "connection events are kept again");
  problem_.clear();
  for (const EventBatch& b : batches) {
    waiting_.erase(b.connector);
    answer_(b.connector, {{"type", "events_kept"}, {"spool", b.spool}, {"through", b.through()}});
  }
  rest(Duration::zero());
}

// upkeep takes out what is too old or too much, a little at a time.
void Events::upkeep() {
  upkeep_.after(kEventsUpkeep);
  if (!usable()) return;
  if (waiting_.empty() && !problem_.empty() && !store_->broken()) problem_.clear();   // nobody is there to try it for
  auto gone = store_->purge(net::Loop::wall() - settings_.keep, settings_.bytes, kPurgeMost);
  if (!gone) return failed(gone.error());
  if (*gone >= kPurgeMost) upkeep_.after(kUpkeepMore);
}

Result<Json> Events::query(const Json& request) {
  if (!usable()) return fail(Errc::io, "connection events can't be read: " + problem_);
  auto filter = filter_of(model_(), request);
  if (!filter) return pass_on(filter);
  Fields f(request, "events");
  const std::uint64_t most = f.has("most") ? std::max<std::uint64_t>(f.number("most", kEventsMost), 1) : kEventsMost;
  const bool forward = f.has("after");
  std::uint64_t from = store_->last() + 1;
  if (forward || f.has("before")) from = f.number(forward ? "after" : "before", kNumberMax);
  if (!f.ok()) return f.error();
  auto page = forward ? store_->after(*filter, from, most) : store_->before(*filter, from, most);
  if (!page) return pass_on(page);
  return Json{{"events", std::move(page->events)}, {"reached", page->reached}, {"done", page->done}, {"last", store_->last()}};
}

Json Events::status() {
  Json out = {{"problem", problem_}};
  if (!store_) return out;
  const auto first = store_->first();
  const auto bytes = store_->bytes();
  if (first) out["first"] = *first;
  if (bytes) out["bytes"] = *bytes;
  out["last"] = store_->last();
  return out;
}

}  // namespace tg::controller
