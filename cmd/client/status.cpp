// tg client status, tg client resources
#include <algorithm>

#include <fmt/format.h>

#include "cmd/agent_command.h"
#include "cmd/client/commands.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::client {
namespace {

std::string tunnel_line(const Json& t) {
  const std::string who = fmt::format("{} ({})", text_or(t, "connector", ""), text_or(t, "network", ""));
  if (text_or(t, "state", "") != "up") return fmt::format("{}: down: {}", who, text_or(t, "problem", ""));
  const auto lanes = number_or(t, "lanes", 1);
  return fmt::format("{}: {} by {}, {:.1f} ms, {} flows{}", who, text_or(t, "path", ""), text_or(t, "address", ""),
                     t.value("round_trip_ms", 0.0), number_or(t, "flows", 0), lanes > 1 ? fmt::format(", {} lanes", lanes) : "");
}

// A tunnel that gets no new flows: it is silent, or runs dry.
std::string other_line(const Json& t) {
  const std::string silent = t.contains("silent_s") ? fmt::format(" for {:.0f} s", t.value("silent_s", 0.0)) : "";
  return fmt::format("  {}{}: {} by {}, {} flows", text_or(t, "state", ""), silent, text_or(t, "path", ""),
                     text_or(t, "address", ""), number_or(t, "flows", 0));
}

void print_status(const Json& j, bool online) {
  fmt::print("client     {}{}\n", text_or(j, "state", ""), online ? "" : ": " + text_or(j, "problem", ""));
  fmt::print("{:<11}{}\n", j.contains("key") ? "service" : "user", text_or(j, "user", "unknown"));
  if (j.contains("key")) {
    fmt::print("key        {}, until {}\n", text_or(j["key"], "id", ""),
               utc_text(UnixTime(std::chrono::seconds(number_or(j["key"], "until", 0)))));
  }
  if (j.contains("session")) {
    fmt::print("session    signed in at {}, until {}\n", text_or(j["session"], "provider", ""),
               utc_text(UnixTime(std::chrono::seconds(number_or(j["session"], "until", 0)))));
  }
  fmt::print("controller {}: {}\n", j["controller"].value("address", ""),
             j["controller"].value("connected", false) ? "connected" : "not connected");
  if (j.contains("rules_as_of")) fmt::print("rules      {}\n", cmd::rules_text(j));
  if (j.contains("clock")) fmt::print("clock      {}\n", text_or(j, "clock", ""));
  for (const Json& w : j.value("warnings", Json::array())) fmt::print("warning    {}\n", w.get<std::string>());
  const auto not_ready = number_or(j, "not_ready", 0);
  fmt::print("resources  {}{}\n", number_or(j, "resources", 0),
             not_ready > 0 ? fmt::format(", {} of them not ready: see tg client resources", not_ready) : "");
  fmt::print("interface  {}, range {}\n", text_or(j, "interface", ""), text_or(j, "range", ""));
  if (j.contains("capture")) {
    const std::string why = text_or(j["capture"], "why", "");
    fmt::print("capture    {}{}\n", text_or(j["capture"], "way", ""), why.empty() ? "" : ": " + why);
  }
  if (j.contains("dns")) {
    std::string upstream;
    for (const Json& u : j["dns"]["upstream"]) upstream += (upstream.empty() ? "" : ", ") + u.get<std::string>();
    fmt::print("dns        {}; everything else goes to {}\n", text_or(j["dns"], "owner", ""),
               upstream.empty() ? "nobody" : upstream);
  }
  for (const Json& t : j["tunnels"]) {
    fmt::print("tunnel     {}\n", tunnel_line(t));
    if (!t.contains("others")) continue;
    for (const Json& other : t["others"]) fmt::print("           {}\n", other_line(other));
  }
}

Result<int> status(const Common& common) {
  auto s = common.ask({{"type", "status"}});
  if (!s) {
    if (common.json && s.error().code == Errc::unreachable) {
      cmd::print_json({{"role", "client"}, {"state", "not-running"}});
      return exit_code(Errc::unreachable);
    }
    return pass_on(s);
  }
  s->erase("type");
  const std::string state = text_or(*s, "state", "");
  const bool online = state == "online";
  if (common.json) cmd::print_json(*s);
  else print_status(*s, online);
  return online ? 0 : exit_code(state == "sign-in-needed" ? Errc::login_needed : Errc::unreachable);
}

Result<int> resources(const Common& common) {
  const auto answer = common.ask({{"type", "resources"}});
  if (!answer) return tl::unexpected(answer.error());
  const Json& list = (*answer)["resources"];
  if (common.json) {
    cmd::print_json({{"resources", list}});
    return 0;
  }
  std::size_t name = 4, address = 7, alias = 5, local = 5, states = 6;
  for (const Json& r : list) {
    name = std::max(name, text_or(r, "name", "").size());
    address = std::max(address, text_or(r, "address", "").size());
    alias = std::max(alias, text_or(r, "alias", "").size());
    local = std::max(local, text_or(r, "local", "").size());
    states = std::max(states, text_or(r, "state", "").size());
  }
  const auto row = [&](const std::string& n, const std::string& a, const std::string& second, const std::string& l,
                       const std::string& state, const std::string& protocols) {
    fmt::print("{:<{}}  {:<{}}  {:<{}}  {:<{}}  {:<{}}  {}\n", n, name, a, address, second, alias, l, local, state, states,
               protocols);
  };
  row("NAME", "ADDRESS", "ALIAS", "LOCAL", "STATE", "PROTOCOLS");
  for (const Json& r : list) {
    row(text_or(r, "name", ""), text_or(r, "address", ""), text_or(r, "alias", "-"), text_or(r, "local", "-"),
        text_or(r, "state", ""), text_or(r, "protocols", ""));
  }
  for (const Json& r : list) {
    if (r.contains("policy")) std::fputs(fmt::format("tg: {} needs {}\n", text_or(r, "name", ""), text_or(r, "missing", "")).c_str(), stderr);
  }
  return 0;
}

}  // namespace

void add_status(cmd::Command client) {
  auto common = std::make_shared<Common>();
  common->add_to(client.add_command("status", "Say how the client does; exit 0 when online, 4 when a sign-in is needed, otherwise 3",
                                   [common] { return status(*common); }),
                 std::chrono::seconds(5));
}

void add_resources(cmd::Command client) {
  auto common = std::make_shared<Common>();
  common->add_to(client.add_command("resources", "List the Resources of this device",
                                   [common] { return resources(*common); }),
                 std::chrono::seconds(5));
}

}  // namespace tg::client
