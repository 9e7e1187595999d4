// tg client dns NAME [TYPE]
#include <cstdio>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cmd/client/commands.h"
#include "core/json.h"
#include "dns/name.h"
#include "dns/types.h"

namespace tg::client {
namespace {

struct Dns {
  Common common;
  std::string name;
  std::string type;
};

// An address is asked about by its reverse name (RFC 1035 section 3.5, RFC 3596 section 2.5).
std::string reverse_text(const IpAddress& ip) {
  if (ip.is_v4()) return dns::to_reverse(ip.v4()).to_string();
  std::string out;
  const Bytes bytes = ip.bytes();
  for (auto b = bytes.rbegin(); b != bytes.rend(); ++b) out += fmt::format("{:x}.{:x}.", *b & 15, *b >> 4);
  return out + "ip6.arpa";
}

Result<Json> request_of(const Dns& o) {
  const auto ip = IpAddress::parse(o.name);
  const std::string name = ip ? reverse_text(*ip) : o.name;
  const std::string type = !o.type.empty() ? o.type : ip ? "PTR" : "A";
  if (const auto parsed = dns::Name::parse(name); !parsed) {
    return fail(Errc::invalid_argument, fmt::format("{}: {}", o.name, parsed.error().text));
  }
  const auto number = dns::type_number(type);
  if (!number)
    return fail(Errc::invalid_argument, fmt::format("{} is no type of DNS records; A, AAAA, MX, TXT … are", type));
  return Json{{"type", "dns"}, {"name", name}, {"qtype", *number}};
}

std::string by_text(const Json& j) {
  const std::string by = text_or(j, "by", "");
  if (by == "tg") return "tg itself, without asking anybody";
  if (by == "connector") return "tg, after asking a connector";
  if (j.contains("server")) return text_or(j, "server", "") + ", a DNS server of the system";
  return fmt::format("tg, since no DNS server of the system answers ({})",
                     j.contains("servers")
                         ? fmt::format("{}", fmt::join(j["servers"].get<std::vector<std::string>>(), ", "))
                         : "none is known");
}

void print_answer(const Json& j) {
  const Json& records = j["records"];
  fmt::print("question   {} {}\n", text_or(j, "name", ""), text_or(j, "qtype", ""));
  fmt::print("rule       {}\n", text_or(j, "rule", ""));
  fmt::print("answered   by {}\n", by_text(j));
  fmt::print("answer     {}, flags {}, {} record{}\n", text_or(j, "rcode", ""), text_or(j, "flags", ""), records.size(),
             records.size() == 1 ? "" : "s");
  for (const Json& r : records) fmt::print("           {}\n", text_or(r, "text", ""));
}

Result<int> dns_command(const Dns& o) {
  const auto request = request_of(o);
  if (!request) return tl::unexpected(request.error());
  auto answer = o.common.ask(*request);
  if (!answer) return pass_on(answer);
  answer->erase("type");
  if (o.common.json) cmd::print_json(*answer);
  else print_answer(*answer);
  if (text_or(*answer, "rcode", "") == "NOERROR") return 0;
  const bool nobody = text_or(*answer, "by", "") == "server" && !answer->contains("server");
  return nobody ? exit_code(Errc::unreachable) : 1;
}

}  // namespace

void add_dns(cmd::Command client) {
  auto o = std::make_shared<Dns>();
  cmd::Command c = client.add_command("dns", "Say what tg's DNS answers to a question, and why",
                                      [o] { return dns_command(*o); });
  o->common.add_to(c, std::chrono::seconds(10));
  c.add_option("name", o->name, "Name, or an address for its name").required().type_name("NAME");
  c.add_option("type", o->type, "A, AAAA, MX, TXT, HTTPS, TYPE65 … (default: A; PTR for an address)")
      .type_name("TYPE");
  c.footer(
      "The question goes the way of an application's: the rule that decided, who answered, and the answer\n"
      "as it was received, with the address that stands for the name and its TTL. The exit status is 0 for\n"
      "NOERROR, 1 for another answer (NXDOMAIN …), and 3 when nobody answered or the client is not running.");
}

}  // namespace tg::client
