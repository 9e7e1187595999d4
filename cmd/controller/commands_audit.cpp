// tg controller audit [verify]: what was changed, by whom, and whether that record is whole.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "cmd/controller/commands.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::controller {
namespace {

constexpr unsigned kNewest = 100;
constexpr unsigned kNewestMost = 1000;    // as the controller gives at once
constexpr std::int64_t kLastTime = 253'402'300'799;   // the end of 9999: an entry may have been altered

std::string shown(const Json& value) { return value.is_string() ? value.get<std::string>() : json_text(value); }

// differences writes what an entry changed as "address nas.home.int -> nas2.home.int", field by field.
std::string differences(const Json& before, const Json& after) {
  std::string out;
  const auto add = [&](const std::string& part) { out += (out.empty() ? "" : "; ") + part; };
  const Json none = Json::object();
  const Json& from = before.is_object() ? before : none;
  const Json& to = after.is_object() ? after : none;
  for (const auto& [key, value] : to.items()) {
    const auto old = from.find(key);
    if (old != from.end() && *old == value) continue;
    if (before.is_object()) add(fmt::format("{} {} -> {}", key, old == from.end() ? "none" : shown(*old), shown(value)));
    else if (key != "name" && key != "email" && !value.empty() && value != "") add(fmt::format("{} {}", key, shown(value)));
  }
  return out;
}

std::string line_of(const Json& e) {
  if (!e.is_object()) return "(an entry that was altered; see: tg controller audit verify)";
  const std::time_t time = std::clamp<std::int64_t>(number_or(e, "time", 0), 0, kLastTime);
  const Json none;
  const auto part = [&](const char* key) -> const Json& { return e.contains(key) ? e[key] : none; };
  const std::string what = differences(part("before"), part("after"));
  const std::string from = text_or(e, "from", "");
  return fmt::format("{}  {:%Y-%m-%d %H:%M:%S} UTC  {}{}  {} {} {}{}{}", number_or(e, "number", 0), fmt::gmtime(time),
                     text_or(e, "who", "?"), from.empty() || from == "socket" ? "" : " from " + from,
                     text_or(e, "action", "?"), text_or(e, "kind", "?"), text_or(e, "name", "?"), what.empty() ? "" : ": ",
                     what);
}

struct Audit {
  Common common;
  unsigned newest = kNewest;
  bool follow = false;
  std::string head;
};

void print(const Audit& a, const Json& entries) {
  for (const Json& e : entries) {
    if (a.common.json) std::puts(json_text(e).c_str());
    else std::puts(printable(line_of(e), 4000).c_str());
  }
  std::fflush(stdout);
}

// With --follow the entries are JSON lines, since the list has no end.
Result<int> run(const Audit& a) {
  auto answer = a.common.ask({{"type", "audit"}, {"newest", a.newest}});
  if (!answer) return pass_on(answer);
  if (!a.follow && a.common.json) {
    cmd::print_json({{"entries", (*answer)["entries"]}, {"last", (*answer)["last"]}});
    return 0;
  }
  print(a, (*answer)["entries"]);
  std::int64_t last = number_or(*answer, "last", 0);
  const int patience = a.common.patience();
  while (a.follow) {
    answer = a.common.ask({{"type", "audit"}, {"after", last}, {"most", kNewestMost}, {"wait_ms", patience}});
    if (!answer) return pass_on(answer);
    const Json& entries = (*answer)["entries"];
    print(a, entries);
    if (!entries.empty()) last = std::max(last + 1, number_or(entries.back(), "number", 0));
  }
  return 0;
}

// noted_head reads "NUMBER:HASH" as verify prints it.
Result<Json> noted_head(const std::string& text) {
  const auto colon = text.find(':');
  const std::string number = text.substr(0, colon);
  const bool good = colon != std::string::npos && !number.empty() && number.size() < 16 &&
                    std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
                    text.size() == colon + 65;
  if (!good) return fail(Errc::invalid_argument, "--head: is not NUMBER:HASH as 'tg controller audit verify' prints it");
  return Json{{"type", "verify_audit"}, {"number", std::stoull(number)}, {"hash", text.substr(colon + 1)}};
}

Result<int> verify(const Audit& a) {
  Json request = {{"type", "verify_audit"}};
  if (!a.head.empty()) {
    auto noted = noted_head(a.head);
    if (!noted) return pass_on(noted);
    request = std::move(*noted);
  }
  auto answer = a.common.ask(request);
  if (!answer) return pass_on(answer);
  const std::string problem = text_or(*answer, "problem", "the controller's answer is not understood");
  const std::string head = fmt::format("{}:{}", number_or(*answer, "number", 0), text_or(*answer, "hash", ""));
  if (a.common.json) cmd::print_json({{"whole", problem.empty()}, {"head", head}, {"problem", problem}});
  else if (problem.empty()) std::puts(head.c_str());
  if (!problem.empty()) return fail(Errc::failed, problem);
  return 0;
}

}  // namespace

void add_audit_commands(cmd::Command controller) {
  auto list = std::make_shared<Audit>();
  cmd::Command command = controller.add_command("audit", "Print what was changed, when and by whom, the newest last",
                                                [list] { return run(*list); });
  list->common.add_to(command);
  command.add_option("--newest", list->newest, "How many entries")
      .type_name("NUMBER")
      .in_range(1, kNewestMost)
      .capture_default_str();
  command.add_flag("--follow", list->follow, "Go on with each entry as it comes; with --json one line of JSON each");
  command.allow_command();

  auto check = std::make_shared<Audit>();
  cmd::Command sub = command.add_command("verify",
                                         "Check that no entry was altered, taken out or put in, and print the log's end",
                                         [check] { return verify(*check); });
  check->common.add_to(sub);
  sub.add_option("--head", check->head, "An end that was printed earlier and kept elsewhere: the log must go through it")
      .type_name("NUMBER:HASH");
  sub.exit_status("0 whole, 1 altered, 2 wrong usage, 3 the controller is not running");
}

}  // namespace tg::controller
