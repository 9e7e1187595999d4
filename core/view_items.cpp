// The items of core/view.h as JSON, and back with every field checked.
#include <algorithm>
#include <limits>

#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"
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

Buffer key_field(Fields& f, const char* key) {
  auto bytes = unbase64url(f.text(key));
  if (bytes && bytes->size() == 32) return std::move(*bytes);
  f.refuse(key, "is not 32 bytes in base64url");
  return {};
}

std::vector<std::string> host_ports(Fields& f, const char* key) {
  std::vector<std::string> out = f.texts(key);
  for (const std::string& s : out) {
    if (!HostPort::parse(s)) f.refuse(key, "holds something that is not HOST:PORT");
  }
  return out;
}

std::vector<RelayWay> relay_ways(Fields& f, const char* key) {
  std::vector<RelayWay> out;
  const Json* list = f.any(key);
  if (list == nullptr) return out;
  if (!list->is_array() || list->size() > kRelaysMax) {
    f.refuse(key, "is not a list of relays");
    return out;
  }
  for (const Json& one : *list) {
    Fields way(one, "relay");
    RelayWay r{way.text("relay"), way.text("address"), way.text("ticket", 63)};
    if (!way.ok()) f.refuse(key, "are wrong: " + way.error().value().text);
    else if (!HostPort::parse(r.address)) f.refuse(key, "holds something that is not HOST:PORT");
    else if (!unbase32(r.ticket)) f.refuse(key, "has a ticket that is not base32");
    else out.push_back(std::move(r));
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
  Json relays = Json::array();
  for (const RelayWay& r : c.relays) relays.push_back({{"relay", r.relay}, {"address", r.address}, {"ticket", r.ticket}});
  return {{"id", c.id}, {"name", c.name}, {"network", c.network}, {"online", c.online},
          {"direct", c.direct}, {"relays", relays}};
}

bool same_ways(const ConnectorInfo& a, const ConnectorInfo& b) {
  return a.direct == b.direct && a.online == b.online &&
         std::equal(a.relays.begin(), a.relays.end(), b.relays.begin(), b.relays.end(), [](const RelayWay& x, const RelayWay& y) {
           return x.relay == y.relay && x.address == y.address;
         });
}

bool names_way(const ConnectorInfo& c, std::string_view relay, std::string_view address) {
  if (relay.empty()) {
    return !c.online || c.direct.empty() || std::find(c.direct.begin(), c.direct.end(), address) != c.direct.end();
  }
  return std::any_of(c.relays.begin(), c.relays.end(),
                     [&](const RelayWay& w) { return w.relay == relay && w.address == address; });
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
  out.relays = relay_ways(f, "relays");
  if (!f.ok()) return f.error();
  return out;
}

std::string reminder(const DeviceSelf& s, UnixTime now) {
  const bool by_key = !s.key.empty();
  if ((!by_key && s.provider.empty()) || s.until <= now) return "";
  if (by_key && s.until - now <= kRemindKey) {
    return "the key " + s.key + " ends at " + utc_text(s.until) + ", and all flows with it; an administrator makes another: tg controller key create " +
           printable(s.user, 64);
  }
  if (!by_key && s.until - now <= kRemindSession) {
    return "the session ends at " + utc_text(s.until) + ", and all flows with it; 'sudo tg client login' begins another now";
  }
  return "";
}

Json to_json(const DeviceSelf& s) {
  Json out = {{"user", s.user}, {"device", s.device}, {"name", s.name}};
  if (s.sign_in) out["sign_in"] = true;
  if (!s.provider.empty()) out["session"] = {{"provider", s.provider}, {"until", std::uint64_t(s.until.time_since_epoch().count())}};
  if (!s.key.empty()) out["key"] = {{"id", s.key}, {"until", std::uint64_t(s.until.time_since_epoch().count())}};
  return out;
}

Result<DeviceSelf> device_self_from_json(const Json& j) {
  Fields f(j, "self");
  DeviceSelf out{f.text("user"), f.text("device"), f.text("name"), f.has("sign_in") && f.flag("sign_in"), {}, {}};
  if (f.has("session")) {
    Fields session(*f.any("session"), "session");
    out.provider = session.text("provider");
    out.until = UnixTime(std::chrono::seconds(session.number("until", 1ull << 40)));
    if (!session.ok()) return session.error();
  }
  if (f.has("key")) {
    Fields key(*f.any("key"), "key");
    out.key = key.text("id");
    out.until = UnixTime(std::chrono::seconds(key.number("until", 1ull << 40)));
    if (!key.ok()) return key.error();
  }
  if (!f.ok()) return f.error();
  return out;
}

Json to_json(const AccessList& list) {
  std::map<ResourceAccess, std::vector<ResourceId>> alike;   // most have one of few policies
  for (const auto& [id, a] : list) alike[a].push_back(id);
  Json out = Json::array();
  for (const auto& [a, ids] : alike) {
    Json one = {{"ids", ids}, {"need", to_string(a.need)}};
    if (!a.policy.empty()) one["policy"] = a.policy;
    if (a.changes != UnixTime::max()) one["changes"] = std::uint64_t(a.changes.time_since_epoch().count());
    if (a.asked) one["asked"] = true;
    if (a.most.count() > 0) one["most"] = std::uint64_t(a.most.count());
    out.push_back(std::move(one));
  }
  return out;
}

Result<AccessList> access_from_json(const Json& j) {
  AccessList out;
  if (!j.is_array()) return fail(Errc::malformed, "access is not a list");
  for (const Json& one : j) {
    Fields f(one, "access");
    ResourceAccess a;
    const auto need = need_from(f.text("need"));
    a.need = need.value_or(Need::over);   // a word of a newer controller: it grants nothing
    a.policy = f.text_or_empty("policy");
    if (f.has("changes")) a.changes = UnixTime(std::chrono::seconds(f.number("changes", 1ull << 40)));
    a.asked = f.has("asked") && f.flag("asked");
    if (f.has("most")) a.most = std::chrono::seconds(f.number("most", 1ull << 32));
    const Json* ids = f.any("ids");
    if (ids != nullptr && !ids->is_array()) f.refuse("ids", "is not a list");
    if (!f.ok()) return f.error();
    for (const Json& id : *ids) {
      if (!id.is_number_unsigned()) return fail(Errc::malformed, "access: an id is no number");
      out.emplace(id.get<ResourceId>(), a);
    }
  }
  return out;
}

std::string what_is_missing(const ResourceAccess& a, const std::string& name, bool service) {
  const std::string by = a.policy.empty() ? "" : " (policy " + printable(a.policy, 64) + ")";
  const std::string sign_in = service ? ", which a service cannot give: an administrator must let it in by a group without that"
                                      : ": run 'sudo tg client login'";
  switch (a.need) {
    case Need::nothing: return "";
    case Need::sign_in: return "a new sign-in" + by + sign_in;
    case Need::second_factor: return "a sign-in with a second factor" + by + sign_in;
    case Need::approval:
      if (a.asked) return "approval" + by + ", which was asked for: an administrator has to answer";
      return "approval" + by + (service ? ", which a service cannot ask for" : ": run 'tg client request \"" + printable(name, 64) + "\"'");
    case Need::hours:
      return "another time" + by + (a.changes == UnixTime::max() ? "" : ": it opens at " + utc_text(a.changes));
    case Need::trust: return "a trusted device" + by + ": ask an administrator to trust this one";
    case Need::over: break;
  }
  return "more than there is" + by + ": access has ended; ask an administrator";
}

Json to_json(const ConnectorSelf& s) {
  return {{"id", s.id}, {"name", s.name}, {"network", s.network}, {"issuer", s.issuer},
          {"grant_key", base64url(s.grant_key)}, {"relays", s.relays}, {"grant_floor", s.grant_floor}, {"grace", std::uint64_t(s.grace.count())},
          {"events", s.events}};
}

Result<ConnectorSelf> connector_self_from_json(const Json& j) {
  Fields f(j, "self");
  ConnectorSelf out;
  out.id = id_field(f);
  out.name = f.text("name");
  out.network = f.text("network");
  out.issuer = f.text("issuer");
  out.grant_key = key_field(f, "grant_key");
  out.relays = host_ports(f, "relays");
  out.grant_floor = f.number("grant_floor", kGenerationMax);
  out.grace = std::chrono::seconds(f.number("grace", kGraceMax));
  out.events = f.has("events") && f.flag("events");
  if (!f.ok()) return f.error();
  return out;
}

Json to_json(const RelaySelf& s) {
  return {{"id", s.id}, {"name", s.name}, {"issuer", s.issuer}, {"address", s.address},
          {"ticket_key", base64url(s.ticket_key)}};
}

Result<RelaySelf> relay_self_from_json(const Json& j) {
  Fields f(j, "self");
  RelaySelf out;
  out.id = id_field(f);
  out.name = f.text("name");
  out.issuer = f.text("issuer");
  out.address = f.text("address");
  if (!HostPort::parse(out.address)) f.refuse("address", "is not HOST:PORT");
  out.ticket_key = key_field(f, "ticket_key");
  if (!f.ok()) return f.error();
  return out;
}

}  // namespace tg
