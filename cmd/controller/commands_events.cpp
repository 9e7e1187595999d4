// tg controller events: who used what, by which connector, and what was denied or failed.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "cmd/controller/commands.h"
#include "core/connection_event.h"
#include "core/json.h"
#include "core/moment.h"
#include "core/text.h"
#include "net/loop.h"

namespace tg::controller {
namespace {

constexpr unsigned kLimit = 100;
constexpr unsigned kLimitMost = 100'000;
constexpr std::size_t kAtOnce = 1000;     // as the controller gives at once

struct EventOptions {
  Common common;
  bool follow = false;
  std::string user, device, resource, connector, kind, since, until, after;
  unsigned limit = kLimit;
};

Result<std::vector<std::string>> kinds_of(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    out.push_back(text.substr(at, comma - at));
    at = comma + 1;
    if (!event_kind_named(out.back())) {
      return fail(Errc::invalid_argument, fmt::format("--kind: \"{}\" is none of established, closed, denied, failed, lost",
                                                      printable(out.back(), 32)));
    }
  }
  return out;
}

Result<std::uint64_t> number_of(const std::string& text) {
  const bool good = !text.empty() && text.size() < 19 && text.find_first_not_of("0123456789") == std::string::npos;
  if (!good) return fail(Errc::invalid_argument, fmt::format("--after: \"{}\" is no number of an event", printable(text, 32)));
  return std::stoull(text);
}

// request_of is what every question has in common.
Result<Json> request_of(const EventOptions& o) {
  Json out = {{"type", "events"}};
  const std::pair<const char*, const std::string*> texts[] = {
      {"user", &o.user}, {"device", &o.device}, {"resource", &o.resource}, {"connector", &o.connector}};
  for (const auto& [key, text] : texts) {
    const bool name = text->size() <= Fields::kTextMax && printable(*text) == *text;
    if (!name) return fail(Errc::invalid_argument, fmt::format("--{}: is no name", key));
    if (!text->empty()) out[key] = *text;
  }
  if (!o.kind.empty()) {
    auto kinds = kinds_of(o.kind);
    if (!kinds) return pass_on(kinds);
    out["kinds"] = *kinds;
  }
  const UnixTime now = net::Loop::wall();
  for (const auto& [key, text] : {std::pair("since", &o.since), std::pair("until", &o.until)}) {
    if (text->empty()) continue;
    auto at = parse_moment(*text, now);
    if (!at) return fail(at.error().code, fmt::format("--{}: {}", key, at.error().text));
    out[key] = std::max<std::int64_t>(at->time_since_epoch().count(), 0);
  }
  return out;
}

void print_one(const EventOptions& o, const Json& e) {
  if (o.common.json) return cmd::print_json(e);
  const auto event = recorded_event_from_json(e);
  std::puts(event ? text_of(*event).c_str() : fmt::format("{}  (an event that was altered)", number_or(e, "number", 0)).c_str());
}

struct Found {
  std::vector<Json> events;        // the newest last
  std::uint64_t last = 0;          // the controller's last when it began to look
  bool more = false;               // there are others
};

Json page(const Json& request, std::size_t left) {
  Json out = request;
  out["most"] = std::min(left, kAtOnce);
  return out;
}

// collect asks until it has `limit` events, or all: the newest ones, or from `after` on the oldest.
Result<Found> collect(const EventOptions& o, Json request, std::optional<std::uint64_t> after) {
  Found out;
  bool first = true;
  if (after) request["after"] = *after;
  while (true) {
    auto answer = o.common.ask(page(request, o.limit + 1 - out.events.size()));   // one more says whether there are others
    if (!answer) return pass_on(answer);
    if (std::exchange(first, false)) out.last = static_cast<std::uint64_t>(number_or(*answer, "last", 0));
    for (Json& e : (*answer)["events"]) out.events.push_back(std::move(e));
    out.more = out.events.size() > o.limit;
    if (out.more || answer->value("done", true)) break;
    request[after ? "after" : "before"] = number_or(*answer, "reached", 0);
  }
  if (out.more) out.events.resize(o.limit);
  if (!after) std::reverse(out.events.begin(), out.events.end());
  return out;
}

Result<int> follow(const EventOptions& o, const Json& request, std::uint64_t from) {
  const int patience = o.common.patience();
  while (true) {
    Json question = page(request, kAtOnce);
    question["after"] = from;
    question["wait_ms"] = patience;
    auto answer = o.common.ask(question);
    if (!answer) return pass_on(answer);
    for (const Json& e : (*answer)["events"]) print_one(o, e);
    std::fflush(stdout);
    from = std::max(from, static_cast<std::uint64_t>(number_or(*answer, "reached", 0)));
  }
}

Result<int> run(const EventOptions& o) {
  auto request = request_of(o);
  if (!request) return pass_on(request);
  std::optional<std::uint64_t> after;
  if (!o.after.empty()) {
    auto number = number_of(o.after);
    if (!number) return pass_on(number);
    after = *number;
  }
  if (o.follow && after) return follow(o, *request, *after);
  auto found = collect(o, *request, after);
  if (!found) return pass_on(found);
  if (o.common.json && !o.follow) {
    cmd::print_json({{"events", found->events}, {"last", found->last}, {"more", found->more}});
    return 0;
  }
  for (const Json& e : found->events) print_one(o, e);
  std::fflush(stdout);
  if (o.follow) return follow(o, *request, found->last);
  if (found->events.empty()) std::fputs("no such events\n", stderr);
  if (found->more) std::fprintf(stderr, "the %s %u; see --limit\n", after ? "first" : "newest", o.limit);
  return 0;
}

}  // namespace

void add_event_commands(cmd::Command controller) {
  auto o = std::make_shared<EventOptions>();
  cmd::Command command = controller.add_command(
      "events", "Print who used what: flows of clients through connectors, the newest last", [o] { return run(*o); });
  o->common.add_to(command);
  command.add_flag("--follow", o->follow, "Go on with each event as it comes; with --json one line of JSON each");
  command.add_option("--user", o->user, "Only of this user or service").type_name("USER");
  command.add_option("--device", o->device, "Only of this device").type_name("ID|NAME");
  command.add_option("--resource", o->resource, "Only of the Resource that had this name").type_name("NAME");
  command.add_option("--connector", o->connector, "Only by the connector that had this name").type_name("NAME");
  command.add_option("--kind", o->kind, "Only these: established, closed, denied, failed, lost").type_name("KIND[,KIND…]");
  command.add_option("--since", o->since, "Only from then on: how long ago, or a time of UTC such as 2026-11-24T19:30")
      .type_name("TIME");
  command.add_option("--until", o->until, "Only before then, likewise").type_name("TIME");
  command.add_option("--limit", o->limit, "How many at most").type_name("NUMBER").in_range(1, kLimitMost).capture_default_str();
  command.add_option("--after", o->after, "Only those behind the event of this number, the oldest of them first")
      .type_name("NUMBER");
  command.footer("established and closed of one flow have the same \"flow\" in --json; closed says how many bytes\n"
                 "it carried and how long it took. Connectors send events within a second while the controller is\n"
                 "there, and later otherwise; numbers rise as they come.");
}

}  // namespace tg::controller
