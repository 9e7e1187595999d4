// The items of core/view.h as JSON, and back with every field checked.
#include <limits>

#include "core/encoding.h"
#include "core/json.h"
#include "core/view.h"

namespace tg {
namespace {

constexpr std::uint64_t kGraceMax = 366 * 24 * 3600;

Json to_json(const Ports& p) {
  if (p.is_all()) return "all";
  Json out = Json::array();
  for (const PortRange& r : p.ranges()) out.push_back(Ports({r}).to_string());
  return out;
}

Result<Ports> ports_from_json(const Json& j) {
  if (j == "all") return Ports::all();
  if (!j.is_array() || j.size() > Fields::kListMax)
    return fail(Errc::malformed, R"(ports must be "all" or a list such as ["22", "8000-8100"])");
  std::vector<PortRange> ranges;
  for (const Json& entry : j) {
    if (!entry.is_string()) return fail(Errc::malformed, R"(a port must be a text such as "22" or "8000-8100")");
    auto range = Ports::parse(entry.get_ref<const std::string&>());
    if (!range) return fail(Errc::malformed, range.error().text);
    ranges.push_back(*range);
  }
  return Ports(std::move(ranges));
}

bool is_id(const std::string& s) {
  return s.size() == 16 && s.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string id_field(Fields& f) {
  std::string id = f.text("id");
  if (!is_id(id)) f.refuse("id", "is not 16 hexadecimal digits");
  return id;
}

std::vector<std::string> host_ports(Fields& f, const char* key) {
  std::vector<std::string> out = f.texts(key);
  for (const std::string& s : out) {
    if (!HostPort::parse(s)) f.refuse(key, "holds something that is not HOST:PORT");
  }
  return out;
}

void check_alias(Fields& f, const Resource& r) {
  if (r.alias.empty()) return;
  const auto canonical = canonical_name(r.alias);
  if (!canonical || *canonical != r.alias || r.alias.find('.') == std::string::npos) {
    f.refuse("alias", "is not a canonical name with a dot");
  }
}

}  // namespace

Json to_json(const Protocols& p) { return {{"tcp", to_json(p.tcp)}, {"udp", to_json(p.udp)}, {"icmp", p.icmp}}; }

Result<Protocols> protocols_from_json(const Json& j) {
  Fields f(j, "protocols");
  Protocols out;
  out.icmp = f.flag("icmp");
  for (const auto& [key, ports] : {std::pair("tcp", &out.tcp), std::pair("udp", &out.udp)}) {
    const Json* field = f.any(key);
    if (field == nullptr) continue;
    auto parsed = ports_from_json(*field);
    if (parsed) *ports = std::move(*parsed);
    else f.refuse(key, parsed.error().text);
  }
  if (!f.ok()) return f.error();
  return out;
}

Json to_json(const Resource& r) {
  Json out = {{"id", r.id},
              {"name", r.name},
              {"network", r.network},
              {"address", r.address.text()},
              {"protocols", to_json(r.protocols)}};
  if (!r.alias.empty()) out["alias"] = r.alias;
  return out;
}

Result<Resource> resource_from_json(const Json& j) {
  Fields f(j, "resource");
  Resource out;
  out.id = f.number("id");
  out.name = f.text("name");
  out.network = f.text("network");
  const std::string address = f.text("address");
  out.alias = f.text_or_empty("alias");
  check_alias(f, out);
  if (const Json* protocols = f.any("protocols")) {
    auto parsed = protocols_from_json(*protocols);
    if (parsed) out.protocols = std::move(*parsed);
    else f.refuse("protocols", "are wrong: " + parsed.error().text);
  }
  if (f.ok()) {
    auto parsed = Address::parse(address);
    if (parsed) out.address = std::move(*parsed);
    else f.refuse("address", "is wrong: " + parsed.error().text);
  }
  if (!f.ok()) return f.error();
  return out;
}

Json to_json(const ConnectorInfo& c) {
  return {{"id", c.id}, {"name", c.name}, {"network", c.network}, {"online", c.online},
          {"direct", c.direct}, {"relays", c.relays}, {"ticket", c.ticket}};
}

Result<ConnectorInfo> connector_from_json(const Json& j) {
  Fields f(j, "connector");
  ConnectorInfo out;
  out.id = id_field(f);
  out.name = f.text("name");
  out.network = f.text("network");
  out.online = f.flag("online");
  out.direct = f.texts("direct");
  for (const std::string& s : out.direct) {
    if (const auto endpoint = Endpoint::parse(s); !endpoint || endpoint->port == 0) {
      f.refuse("direct", "holds something that is not IP:PORT");
    }
  }
  out.relays = host_ports(f, "relays");
  out.ticket = f.text_or_empty("ticket", 63);
  if (!unbase32(out.ticket)) f.refuse("ticket", "is not base32");
  if (!f.ok()) return f.error();
  return out;
}

Json to_json(const DeviceSelf& s) { return {{"user", s.user}, {"device", s.device}, {"name", s.name}}; }

Result<DeviceSelf> device_self_from_json(const Json& j) {
  Fields f(j, "self");
  DeviceSelf out{f.text("user"), f.text("device"), f.text("name")};
  if (!f.ok()) return f.error();
  return out;
}

Json to_json(const ConnectorSelf& s) {
  return {{"id", s.id}, {"name", s.name}, {"network", s.network}, {"issuer", s.issuer},
          {"grant_key", base64url(s.grant_key)}, {"relays", s.relays}, {"grace", std::uint64_t(s.grace.count())}};
}

Result<ConnectorSelf> connector_self_from_json(const Json& j) {
  Fields f(j, "self");
  ConnectorSelf out;
  out.id = id_field(f);
  out.name = f.text("name");
  out.network = f.text("network");
  out.issuer = f.text("issuer");
  auto key = unbase64url(f.text("grant_key"));
  if (key && key->size() == 32) out.grant_key = std::move(*key);
  else f.refuse("grant_key", "is not 32 bytes in base64url");
  out.relays = host_ports(f, "relays");
  out.grace = std::chrono::seconds(f.number("grace", kGraceMax));
  if (!f.ok()) return f.error();
  return out;
}

}  // namespace tg
