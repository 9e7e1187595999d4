// tg client ping HOST
#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <poll.h>

#include "cmd/client/commands.h"
#include "core/json.h"
#include "net/loop.h"

namespace tg::client {
namespace {

constexpr std::chrono::milliseconds kBetween{1000};
constexpr std::chrono::seconds kMargin{2};   // beyond the probe's own patience, for the client to answer at all

struct Ping {
  Common common;
  std::string host;
  unsigned count = 3;
};

// These do not change from one probe to the next.
bool final_state(const std::string& state) {
  return state == "no-resource" || state == "not-allowed" || state == "denied";
}

std::string path_text(const Json& j) {
  std::string out = fmt::format("{}: {} by {}", text_or(j, "connector", "unknown"), text_or(j, "path", ""),
                                text_or(j, "address", ""));
  if (j.contains("tunnel_ms")) out += fmt::format(", tunnel {:.1f} ms", j["tunnel_ms"].get<double>());
  return out;
}

void print_probe(unsigned number, const Json& j) {
  std::string line = fmt::format("{}  ", number);
  if (j.contains("connector")) line += path_text(j) + ", ";
  else if (!j.contains("resource")) line += text_or(j, "host", "") + ": ";
  if (text_or(j, "state", "") == "reply") {
    line += fmt::format("{} {:.1f} ms, together {:.1f} ms", text_or(j, "host", ""), j["host_ms"].get<double>(),
                        j["total_ms"].get<double>());
  } else {
    line += text_or(j, "text", "");
  }
  std::puts(line.c_str());
  std::fflush(stdout);
}

Json summary_of(const Json& probes) {
  Json out = {{"sent", probes.size()}, {"received", 0}};
  double least = 0, most = 0, sum = 0;
  int received = 0;
  for (const Json& p : probes) {
    if (text_or(p, "state", "") != "reply") continue;
    const double total = p["total_ms"].get<double>();
    least = received == 0 ? total : std::min(least, total);
    most = std::max(most, total);
    sum += total;
    ++received;
  }
  out["received"] = received;
  if (received > 0) out["total_ms"] = {{"min", least}, {"avg", sum / received}, {"max", most}};
  return out;
}

Result<int> ping(const Ping& o) {
  const auto target = parse_target(o.host);
  if (!target) return tl::unexpected(target.error());
  if (target->port != 0) {
    return fail(Errc::invalid_argument,
                o.host + ": ping knows no ports; 'tg client explain' says whether a port is allowed");
  }
  const Json request = {{"type", "ping"},
                        {"host", target->host},
                        {"timeout_ms", std::chrono::milliseconds(o.common.timeout).count()}};
  Json probes = Json::array();
  for (unsigned i = 1; i <= o.count; ++i) {
    const Instant began = net::Loop::now();
    auto answer = o.common.ask(request, o.common.timeout + kMargin);
    if (!answer) return pass_on(answer);
    answer->erase("type");
    if (i == 1 && !o.common.json && answer->contains("resource")) {
      fmt::print("{} is the Resource {} (network {})\n", text_or(*answer, "host", ""), text_or(*answer, "resource", ""),
                 text_or(*answer, "network", ""));
    }
    if (!o.common.json) print_probe(i, *answer);
    const std::string state = text_or(*answer, "state", "");
    probes.push_back(std::move(*answer));
    if (final_state(state) || i == o.count) break;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(began + kBetween - net::Loop::now()).count();
    if (left > 0) ::poll(nullptr, 0, static_cast<int>(left));
  }
  Json summary = summary_of(probes);
  const bool reached = summary["received"] != 0;
  const int status = reached ? 0 : exit_code(static_cast<Errc>(number_or(probes.back(), "code", 0)));
  if (o.common.json) {
    summary["host"] = probes.back()["host"];
    summary["probes"] = std::move(probes);
    cmd::print_json(summary);
  } else if (reached) {
    const Json& t = summary["total_ms"];
    fmt::print("{} of {} answered; together {:.1f} ms at least, {:.1f} on average, {:.1f} at most\n",
               summary["received"].get<int>(), summary["sent"].get<int>(), t["min"].get<double>(),
               t["avg"].get<double>(), t["max"].get<double>());
  }
  return status;
}

}  // namespace

void add_ping(cmd::Command client) {
  auto o = std::make_shared<Ping>();
  cmd::Command c =
      client.add_command("ping", "Measure the way to a Resource: tunnel to the connector, ping from there",
                       [o] { return ping(*o); });
  o->common.add_to(c, std::chrono::seconds(5));
  c.add_option("--count", o->count, "How many probes, one a second")
      .type_name("N")
      .in_range(1, 1000000, cmd::Option::Told::no)
      .capture_default_str();
  c.add_option("host", o->host, "Name or address").required().type_name("HOST");
  c.footer(
      "Each probe is one line: the connector, the path to it, the round trip of the tunnel, and that of a\n"
      "ping which the connector sends to the host. --timeout is for each probe. Without any reply the last\n"
      "line says how far it came, and the exit status is 3 (no Resource matches, connector offline, no\n"
      "path, host silent) or 5 (not allowed).");
}

}  // namespace tg::client
