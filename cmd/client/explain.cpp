// tg client explain HOST[:PORT]
#include <fmt/format.h>

#include "cmd/client/commands.h"
#include "core/ip.h"
#include "core/json.h"

namespace tg::client {
namespace {

void print_explanation(const Json& j) {
  if (!j.value("matched", false)) {
    fmt::print("{}: {}\n", text_or(j, "host", ""), text_or(j, "text", ""));
    return;
  }
  const Json& w = j["winner"];
  fmt::print("{} belongs to the Resource {} ({}, network {})\n", text_or(j, "host", ""), text_or(w, "name", ""),
             text_or(w, "address", ""), text_or(w, "network", ""));
  fmt::print("why        {}\n", text_or(j, "why", ""));
  fmt::print("state      {}\n", text_or(w, "state", ""));
  if (w.contains("missing")) fmt::print("needs      {}\n", text_or(w, "missing", ""));
  for (const Json& o : j["others"])
    fmt::print("also       {} ({})\n", text_or(o, "name", ""), text_or(o, "address", ""));
  if (j.contains("local")) fmt::print("local      {}\n", text_or(j, "local", ""));
  fmt::print("dialled    {}, by a connector of {}\n", text_or(j, "target", ""), text_or(w, "network", ""));
  fmt::print("protocols  {}\n", text_or(w, "protocols", ""));
  const std::string port = j.contains("port") ? fmt::format("{} ", number_or(j, "port", 0)) : "";
  for (const auto& [protocol, allowed] : j["allowed"].items()) {
    fmt::print("{:<10} {}{}\n", protocol, port, allowed.get<bool>() ? "allowed" : "not allowed");
  }
  for (const Json& t : j["tunnels"]) {
    const bool up = text_or(t, "state", "") == "up";
    fmt::print("tunnel     {}: {}\n", text_or(t, "connector", ""),
               up ? text_or(t, "path", "") + " by " + text_or(t, "address", "") : "down: " + text_or(t, "problem", ""));
  }
}

}  // namespace

void add_explain(cmd::Command client) {
  struct Explain {
    Common common;
    std::string host;
  };
  auto o = std::make_shared<Explain>();
  const auto run = [o]() -> Result<int> {
    const auto target = parse_target(o->host);
    if (!target) return tl::unexpected(target.error());
    Json request = {{"type", "explain"}, {"host", target->host}};
    if (target->port != 0) request["port"] = target->port;
    auto answer = o->common.ask(request);
    if (!answer) return pass_on(answer);
    answer->erase("type");
    if (o->common.json) cmd::print_json(*answer);
    else print_explanation(*answer);
    return 0;
  };
  cmd::Command c = client.add_command("explain", "Say which Resource a host belongs to, and why", run);
  o->common.add_to(c, std::chrono::seconds(5));
  c.add_option("host", o->host, "Name or address, and a port if wanted").required().type_name("HOST[:PORT]");
}

}  // namespace tg::client
