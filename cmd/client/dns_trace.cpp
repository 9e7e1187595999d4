#include "cmd/client/dns_trace.h"

#include <fmt/format.h>

#include "core/json.h"
#include "dns/record_text.h"
#include "net/dns_sockets.h"

namespace tg::client {
namespace {

using Way = DnsServer::Trace::Way;

Json records_json(const dns::Message& m) {
  Json out = Json::array();
  for (const dns::Record& r : m.answers) {
    out.push_back({{"name", r.name.to_string()}, {"ttl", r.ttl}, {"type", dns::type_text(r.type)},
                   {"data", dns::rdata_text(r)}, {"text", dns::record_text(r)}});
  }
  return out;
}

std::string flags_text(const dns::Header& h) {
  std::string out;
  for (const auto& [set, name] :
       {std::pair(h.qr, "qr"), std::pair(h.aa, "aa"), std::pair(h.tc, "tc"), std::pair(h.rd, "rd"),
        std::pair(h.ra, "ra"), std::pair(h.ad, "ad"), std::pair(h.cd, "cd")}) {
    if (set) out += (out.empty() ? "" : " ") + std::string(name);
  }
  return out;
}

std::string resource_rule(const Resource& r, const std::string& name, std::uint16_t type, const DnsServer::Trace& trace,
                          std::uint16_t rcode) {
  std::string out = fmt::format("the Resource {} ({}, network {})", r.name, r.address.text(), r.network);
  if (!r.alias.empty() && r.alias == name) out += ", of which it is the alias";
  const bool wildcard = r.address.kind() == Address::Kind::wildcard;
  if (trace.way == Way::asked && !trace.connector_said) return out + "; no connector could say within a second";
  if (trace.way == Way::asked && type != dns::kTypeA) return out + "; a connector asked the private DNS";
  if (trace.way == Way::asked) {
    return out + (rcode == dns::kRcodeNxDomain ? "; a connector says that the name does not exist there"
                                               : "; a connector says that the name exists");
  }
  if (wildcard) out += rcode == dns::kRcodeNxDomain ? "; a connector has said that the name does not exist there"
                                                    : "; a connector has said that the name exists, or none could say";
  if (type != dns::kTypeA && rcode == dns::kRcodeNoError) {
    out += fmt::format("; {} is left empty, since it could lead past the tunnel", dns::type_text(type));
  }
  return out;
}

std::string rule_of(const Targets& targets, const std::string& name, std::uint16_t type, const DnsServer::Trace& trace,
                    std::uint16_t rcode, const Resource* r) {
  if (trace.way == Way::forwarded) {
    return trace.server ? "no Resource matches: the system's own DNS servers are asked"
                        : "no Resource matches, and no DNS server of the system answered";
  }
  if (r != nullptr) return resource_rule(*r, name, type, trace, rcode);
  if (name.ends_with(".arpa"))
    return fmt::format("an address of {}, tg's own range", targets.pool().range().to_string());
  return "this name tells browsers to use the system's DNS, and has no address";
}

}  // namespace

void trace_dns(DnsServer& server, const Targets& targets, const std::vector<Endpoint>& upstream, const Json& request,
               const net::LocalServer::Reply& reply) {
  const auto name = dns::Name::parse(text_or(request, "name", ""));
  const auto type = static_cast<std::uint16_t>(number_or(request, "qtype", dns::kTypeA));
  if (!name) return reply(net::local_error(name.error()));
  const std::string text = name->to_string();
  std::string host;
  const Resource* found = name->hostname(host) ? targets.matcher()->find(host) : nullptr;
  const std::optional<ResourceId> id = found ? std::optional(found->id) : std::nullopt;
  const auto trace = std::make_shared<DnsServer::Trace>();

  const auto answered = [&targets, reply, trace, text, host, type, id, upstream](Bytes bytes) {
    const auto message = dns::Message::parse(bytes);
    if (!message) return reply(net::local_error({Errc::protocol, "the answer makes no sense"}));
    const dns::Header& h = message->header;
    const Resource* r = id ? targets.matcher()->by_id(*id) : nullptr;
    Json out = {{"type", "dns"},
                {"name", text},
                {"qtype", dns::type_text(type)},
                {"by", trace->way == Way::forwarded ? "server" : trace->way == Way::asked ? "connector" : "tg"},
                {"rule", rule_of(targets, host.empty() ? text : host, type, *trace, h.rcode, r)},
                {"rcode", dns::rcode_text(h.rcode)},
                {"flags", flags_text(h)},
                {"records", records_json(*message)}};
    if (r != nullptr) {
      out["resource"] = r->name;
      out["network"] = r->network;
      if (const auto lent = targets.pool().find(host)) out["local"] = IpAddress(*lent).to_string();
    }
    if (trace->server) out["server"] = trace->server->to_string();
    if (trace->way == Way::forwarded) {
      for (const Endpoint& e : upstream) out["servers"].push_back(e.to_string());
    }
    reply(out);
  };
  const auto query_id = static_cast<std::uint16_t>(net::random_u32());
  server.serve(dns::make_query(query_id, {*name, type}).encode(), dns::Transport::tcp, answered, trace);
}

}  // namespace tg::client
