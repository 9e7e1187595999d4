#include "core/connection_event.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "core/frame.h"
#include "core/json.h"
#include "core/text.h"

namespace tg {
namespace {

constexpr std::string_view kKinds[] = {"established", "closed", "denied", "failed", "lost"};
constexpr std::uint64_t kMillisecondsMax = 253'402'300'799'999;   // the end of 9999
constexpr std::uint64_t kDurationMax = 100ull * 365 * 86400 * 1000;
constexpr std::uint64_t kCountMax = (1ull << 63) - 1;     // SQLite and jq have signed numbers
constexpr std::size_t kIdMax = 64, kReasonMax = 32, kAddressMax = 64, kPathMax = kHostMax + 8, kGroupsMax = 64;

std::optional<Protocol> protocol_named(std::string_view name) {
  for (const Protocol p : {Protocol::icmp, Protocol::tcp, Protocol::udp}) {
    if (to_string(p) == name) return p;
  }
  return std::nullopt;
}

std::string flow_text(std::uint64_t flow) { return flow == 0 ? std::string() : fmt::format("{:016x}", flow); }

std::optional<std::uint64_t> flow_of(const std::string& text) {
  std::uint64_t flow = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), flow, 16);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || flow_text(flow) != text) return std::nullopt;
  return flow;
}

// JsonLine writes members of an object. Text that is not plain takes the long way.
class JsonLine {
 public:
  JsonLine() { out_.reserve(kUsual); }
  void text(std::string_view key, std::string_view value) {
    if (value.empty()) return;
    begin(key);
    const auto as_it_is = [](char c) { return c >= ' ' && c < 0x7f && c != '"' && c != '\\'; };
    const bool plain = std::all_of(value.begin(), value.end(), as_it_is);
    if (plain) out_.append(1, '"').append(value).append(1, '"');
    else out_ += json_text(Json(std::string(value)));
  }
  void number(std::string_view key, std::uint64_t value) {
    if (value == 0) return;
    begin(key);
    const fmt::format_int digits(value);
    out_.append(digits.data(), digits.size());
  }
  std::string end() { return std::move(out_ += out_.empty() ? "{}" : "}"); }

 private:
  static constexpr std::size_t kUsual = 512;
  void begin(std::string_view key) { out_.append(out_.empty() ? "{\"" : ",\"").append(key).append("\":"); }
  std::string out_;
};

// members has `put` called with each member's key and value, in the order of their keys.
template <class Put>
void members(const ConnectionEvent& e, Put& put) {
  const bool flow = e.kind != ConnectionEvent::Kind::lost;
  put.text("address", e.address);
  put.text("device", e.device);
  put.number("down", e.down);
  put.number("duration_ms", static_cast<std::uint64_t>(e.duration.count()));
  put.text("flow", flow_text(e.flow));
  put.text("host", e.host);
  put.text("kind", to_string(e.kind));
  put.number("lost", e.lost);
  put.number("more", e.more);
  put.text("path", e.path);
  put.number("port", e.port);
  put.text("protocol", flow ? to_string(e.protocol) : std::string_view());
  put.text("reason", e.reason);
  put.text("resource", e.resource_name);
  put.number("resource_id", e.resource);
  put.number("time_ms", static_cast<std::uint64_t>(e.time.count()));
  put.number("up", e.up);
  put.text("user", e.user);
}

// Object collects members; `sparse`: without those that say nothing.
struct Object {
  Json out = Json::object();
  bool sparse = true;
  void text(const char* key, std::string_view value) {
    if (!sparse || !value.empty()) out[key] = std::string(value);
  }
  void number(const char* key, std::uint64_t value) {
    if (!sparse || value != 0) out[key] = value;
  }
};

std::uint64_t number(Fields& f, const char* key, std::uint64_t max) { return f.has(key) ? f.number(key, max) : 0; }

std::string amount(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string length(Milliseconds d) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(d).count();
  if (seconds < 60) return fmt::format("{:.1f}s", static_cast<double>(d.count()) / 1000);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
}

// moment is to the second, as the audit log has it.
std::string moment(Milliseconds t) {
  const std::chrono::sys_seconds at(std::chrono::duration_cast<std::chrono::seconds>(t));
  const auto seconds = (at - std::chrono::floor<std::chrono::minutes>(at)).count();
  std::string out = utc_text(at);
  return out.insert(out.size() - std::string_view(" UTC").size(), fmt::format(":{:02}", seconds));
}

std::string list(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& n : names) out += (out.empty() ? "" : ", ") + n;
  return out;
}

}  // namespace

std::string_view to_string(ConnectionEvent::Kind k) noexcept { return kKinds[static_cast<std::size_t>(k)]; }

std::optional<ConnectionEvent::Kind> event_kind_named(std::string_view name) noexcept {
  const auto at = std::find(std::begin(kKinds), std::end(kKinds), name);
  if (at == std::end(kKinds)) return std::nullopt;
  return static_cast<ConnectionEvent::Kind>(at - std::begin(kKinds));
}

Json to_json(const ConnectionEvent& e) {
  Object put;
  members(e, put);
  return std::move(put.out);
}

std::string event_line(const ConnectionEvent& e) {
  JsonLine put;
  members(e, put);
  return put.end();
}

Result<ConnectionEvent> connection_event_from_json(const Json& j) {
  Fields f(j, "event");
  ConnectionEvent e;
  const auto kind = event_kind_named(f.text("kind", kIdMax));
  if (!kind) f.refuse("kind", "is unknown");
  else e.kind = *kind;
  const bool of_flow = e.kind != ConnectionEvent::Kind::lost;
  e.time = Milliseconds(number(f, "time_ms", kMillisecondsMax));
  const auto flow = flow_of(f.text_or_empty("flow", 16));
  if (flow) e.flow = *flow;
  else if (f.has("flow") && j["flow"] != "") f.refuse("flow", "is not 16 hexadecimal digits");
  e.user = f.text_or_empty("user");
  e.device = f.text_or_empty("device", kIdMax);
  e.resource = number(f, "resource_id", kCountMax);
  e.resource_name = f.text_or_empty("resource");
  e.host = f.text_or_empty("host", kHostMax);
  e.port = static_cast<std::uint16_t>(number(f, "port", 65535));
  e.address = f.text_or_empty("address", kAddressMax);
  e.reason = f.text_or_empty("reason", kReasonMax);
  e.up = number(f, "up", kCountMax);
  e.down = number(f, "down", kCountMax);
  e.duration = Milliseconds(number(f, "duration_ms", kDurationMax));
  e.path = f.text_or_empty("path", kPathMax);
  e.more = number(f, "more", kCountMax);
  e.lost = number(f, "lost", kCountMax);
  const std::string protocol = f.text_or_empty("protocol", kIdMax);
  const auto known = protocol_named(protocol);
  if (known) e.protocol = *known;
  else if (of_flow || !protocol.empty()) f.refuse("protocol", "is unknown");
  if (of_flow && e.host.empty()) f.refuse("host", "is missing");
  if (!f.ok()) return f.error();
  return e;
}

Json to_json(const RecordedEvent& e) {
  Object put;
  put.sparse = false;
  members(e.event, put);
  put.number("number", e.number);
  put.text("connector_id", e.connector);
  put.text("connector", e.connector_name);
  put.text("network", e.network);
  put.text("device_name", e.device_name);
  put.out["groups"] = e.groups;
  return std::move(put.out);
}

Result<RecordedEvent> recorded_event_from_json(const Json& j) {
  auto event = connection_event_from_json(j);
  if (!event) return pass_on(event);
  Fields f(j, "event");
  RecordedEvent out;
  out.event = std::move(*event);
  out.number = f.number("number", kCountMax);
  out.connector = f.text_or_empty("connector_id", kIdMax);
  out.connector_name = f.text_or_empty("connector");
  out.network = f.text_or_empty("network");
  out.device_name = f.text_or_empty("device_name");
  out.groups = f.texts("groups", kGroupsMax);
  if (!f.ok()) return f.error();
  return out;
}

std::string text_of(const RecordedEvent& r) {
  const ConnectionEvent& e = r.event;
  std::string out = fmt::format("{}  {}  {:11}", r.number, moment(e.time), to_string(e.kind));
  const auto add = [&](const std::string& part) { out += "  " + printable(part, 512); };
  if (e.kind == ConnectionEvent::Kind::lost) {
    add(fmt::format("{} events did not reach the controller", e.lost));
    add(r.connector_name);
    return out;
  }
  const bool v6 = e.host.find(':') != std::string::npos;
  const std::string host = v6 && e.port != 0 ? "[" + e.host + "]" : e.host;
  add(fmt::format("{} {}{}{}", to_string(e.protocol), host, e.port == 0 ? "" : fmt::format(":{}", e.port),
                  e.address.empty() ? "" : " at " + e.address));
  if (!e.reason.empty()) add(e.reason);
  if (e.kind == ConnectionEvent::Kind::closed) {
    add(fmt::format("{} up, {} down, {}", amount(e.up), amount(e.down), length(e.duration)));
  }
  const std::string device = r.device_name.empty() ? e.device : r.device_name;
  add(fmt::format("{} on {}", e.user.empty() ? "nobody" : e.user, device.empty() ? "no device" : device));
  add(e.resource_name.empty() ? std::string("no Resource")
                              : e.resource_name + (r.groups.empty() ? "" : " (by " + list(r.groups) + ")"));
  add(fmt::format("{}, {}", r.connector_name, e.path));
  if (e.more != 0) add(fmt::format("and {} more like it", e.more));
  return out;
}

}  // namespace tg
