// What became of one flow through a connector: the record of who used what.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json_fwd.h"
#include "core/resource.h"
#include "core/result.h"

namespace tg {

using Milliseconds = std::chrono::milliseconds;

// ConnectionEvent is one event as a connector tells it. A flow that stands has two, `established` and `closed`, and each says all
// that there is to say by then; one that does not has `denied` or `failed`. Questions of DNS are no events.
struct ConnectionEvent {
  enum class Kind : std::uint8_t {
    established,      // TCP: the server has accepted; UDP and ping: the socket is there
    closed,
    denied,           // by the rules; `reason` says which
    failed,           // the network, the private DNS or a limit said no; `reason` says how
    lost,             // no flow: `lost` events did not reach the controller
  };
  Kind kind = Kind::established;
  Milliseconds time{0};           // since 1970, by the connector's clock
  std::uint64_t flow = 0;         // ties established and closed of one connector together; 0: there is none
  std::string user;               // as the grant says; "" without one
  std::string device;             // its id
  ResourceId resource = 0;        // 0: none that the connector knows
  std::string resource_name;
  Protocol protocol = Protocol::tcp;
  std::string host;               // as the device asked for it
  std::uint16_t port = 0;         // 0 for ping
  std::string address;            // "IP:PORT" that was dialled; "" when nothing was
  std::string reason;             // a Code's name, or one of the reasons below; "" of a flow that ended as flows do
  std::uint64_t up = 0;           // bytes of payload that the server was sent, and
  std::uint64_t down = 0;         // that it sent
  Milliseconds duration{0};       // from established to closed, or from the question to the failure
  std::string path;               // "direct", or the relay's "HOST:PORT"
  std::uint64_t more = 0;         // events like it that were left out before it
  std::uint64_t lost = 0;
  bool operator==(const ConnectionEvent&) const = default;
};
std::string_view to_string(ConnectionEvent::Kind k) noexcept;   // "established", "closed", …
std::optional<ConnectionEvent::Kind> event_kind_named(std::string_view name) noexcept;

// Reasons that are no Code of a stream.
inline constexpr std::string_view kReasonDevice = "reset_by_device";   // closed: the application broke it off
inline constexpr std::string_view kReasonCancelled = "cancelled";      // failed: it was given up before anything had answered
inline constexpr std::string_view kReasonIdle = "idle";                // closed: a datagram flow that nothing moved on
inline constexpr std::string_view kReasonTunnel = "tunnel_ended";      // closed: the way to the device ended

// to_json has the fields that say something. from_json checks each: a connector may lie. Errors: malformed.
Json to_json(const ConnectionEvent& e);
Result<ConnectionEvent> connection_event_from_json(const Json& j);
// event_line is to_json's text, written without building it: it is on the way of every flow.
std::string event_line(const ConnectionEvent& e);

// RecordedEvent is one as the controller keeps it.
struct RecordedEvent {
  std::uint64_t number = 0;            // rises with each event that is kept; no number is used twice
  ConnectionEvent event;
  std::string connector;               // its id, by its certificate
  std::string connector_name;
  std::string network;
  std::string device_name;             // as the machine calls itself
  std::vector<std::string> groups;     // by which the user reached the Resource when the event came
  bool operator==(const RecordedEvent&) const = default;
};
// to_json has every field, whatever it says: programs may rely on them. recorded_event_from_json errors: malformed.
Json to_json(const RecordedEvent& e);
Result<RecordedEvent> recorded_event_from_json(const Json& j);
// text_of writes it in one line for a person; nothing in it moves a cursor.
std::string text_of(const RecordedEvent& e);

}  // namespace tg
