// What one agent is told by the controller: a snapshot, then only what changed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/access.h"
#include "core/grant.h"
#include "core/json_fwd.h"
#include "core/resource.h"
#include "core/result.h"
#include "core/time.h"

namespace tg {

// View maps an item's key ("resource/7", "connector/3f…", "grant/home", "self") to its JSON. The controller computes
// one for each agent, the agent keeps a copy, and only differences travel.
using View = std::map<std::string, Json>;

struct Delta {
  View set;
  std::vector<std::string> remove;
  bool empty() const noexcept { return set.empty() && remove.empty(); }
};
Delta difference(const View& from, const View& to);
void apply(View& view, const Delta& delta);

// Items are those of a View as the controller keeps them, each its JSON as text: what thousands are told is written and kept once.
using Items = std::map<std::string, std::shared_ptr<const std::string>>;

// ToldView is what one agent is told. No key is ever in both parts, nor moves from one to the other.
struct ToldView {
  std::shared_ptr<const Items> common;   // the very same as others are told, or null for nothing
  Items own;
};

// Teller writes the messages that carry ToldViews. What is common it works out once for all, and remembers until forget(), or until
// that is more than kRemembered bytes.
class Teller {
 public:
  // snapshot returns {"type": "snapshot", "revision", "time", "items"} as text.
  std::string snapshot(const ToldView& view, std::uint64_t revision, UnixTime now);
  // delta returns {"type": "delta", "revision", "set", "remove"} as text, or "" when both say the same.
  std::string delta(const ToldView& from, const ToldView& to, std::uint64_t revision);
  void forget();
  static constexpr std::size_t kRemembered = 64u << 20;

 private:
  struct Part {
    std::string set;      // "KEY":ITEM,"KEY":ITEM
    std::string remove;   // "KEY","KEY"
  };
  using Common = std::shared_ptr<const Items>;
  static void write(Part& out, const Items& from, const Items& to);
  const Part& part(const Common& from, const Common& to);

  std::map<std::pair<Common, Common>, Part> known_;
  std::size_t remembered_ = 0;   // bytes of text
};

// The items. from_json functions check everything: a controller is trusted, its bytes are not.
// Protocols: {"tcp": "all" or ["22", "8000-8100"], "udp": likewise, "icmp": true}. All three keys, always.
Json to_json(const Protocols& p);
Result<Protocols> protocols_from_json(const Json& j);

// resource/ID, told to devices and connectors:
Json to_json(const Resource& r);
Result<Resource> resource_from_json(const Json& j);

// kRelaysMax is how many relays one controller has at most.
inline constexpr std::size_t kRelaysMax = 256;

// RelayWay is a way to a connector through one relay.
struct RelayWay {
  std::string relay;                  // its id, which a machine that takes its place does not share
  std::string address;                // "HOST:PORT"
  std::string ticket;                 // SNI label for this relay; see core/ticket.h
  bool operator==(const RelayWay&) const = default;
};

// connector/ID, told to devices: how a connector of one of their Networks is reached.
struct ConnectorInfo {
  std::string id;                     // 16 hex digits, as in its SAN URI
  std::string name;
  std::string network;
  bool online = false;                // has a control stream to the controller now
  std::vector<std::string> direct;    // "IP:PORT" where it listens, best first
  std::vector<RelayWay> relays;
  bool operator==(const ConnectorInfo&) const = default;
};
Json to_json(const ConnectorInfo& c);
Result<ConnectorInfo> connector_from_json(const Json& j);
// same_ways: a ticket that was renewed is no other way, a relay of another id is.
bool same_ways(const ConnectorInfo& a, const ConnectorInfo& b);
// names_way says whether `c` still names the way of a tunnel; `relay`: its id, "" for a direct one. What is not known is no
// reason to leave a direct way: an absent connector has no list, and one that has just come back none yet.
bool names_way(const ConnectorInfo& c, std::string_view relay, std::string_view address);

// self, told to devices: who they are.
struct DeviceSelf {
  std::string user;
  std::string device;                 // id
  std::string name;
  bool sign_in = false;               // it is granted nothing before its user signs in (again)
  std::string provider;               // where its session comes from; "" without one
  UnixTime until{};                   // and when that, or the service's key that let it in, ends
  std::string key{};                  // the key's id; "" without one
};
// reminder tells a person that what lets this device in ends soon: a session within kRemindSession, a key within kRemindKey. "" when it
// does not, or has. It stays the same from one minute to the next, so that a log has it once.
inline constexpr std::chrono::minutes kRemindSession(15);
inline constexpr std::chrono::hours kRemindKey(24 * 7);
std::string reminder(const DeviceSelf& s, UnixTime now);
Json to_json(const DeviceSelf& s);
Result<DeviceSelf> device_self_from_json(const Json& j);

// access, told to devices that reach Resources which have demands: of each of these what is missing, if anything is. In JSON, those that
// are alike stand together.
struct ResourceAccess {
  Need need = Need::nothing;
  std::string policy;                 // that wants it; "" when nothing is missing
  UnixTime changes = UnixTime::max(); // when time alone ends what is there, or brings what is missing; the maximum: never
  bool asked = false;                 // somebody of the user's has asked for it, and nobody has answered yet
  std::chrono::seconds most{0};       // for how long one may ask
  auto operator<=>(const ResourceAccess&) const = default;
};
using AccessList = std::map<ResourceId, ResourceAccess>;
Json to_json(const AccessList& a);
Result<AccessList> access_from_json(const Json& j);
// what_is_missing says it to a person, and what to do: "a sign-in with a second factor (policy sensitive): run 'sudo tg client login'".
// "" when nothing is. `name`: of the Resource. `service`: it is no person.
std::string what_is_missing(const ResourceAccess& a, const std::string& name, bool service);

// grant/NETWORK is a JSON string: the compact JWS.

// self, told to connectors.
struct ConnectorSelf {
  std::string id;
  std::string name;
  std::string network;
  std::string issuer;                 // instance name that grants must carry
  Buffer grant_key;                   // Ed25519 public key
  std::vector<std::string> relays;    // "HOST:PORT" to keep a control stream to
  Generation grant_floor = 0;         // grants of any device with a lower one are void: from before a backup was restored
  std::chrono::seconds grace{0};      // how long past their expiry grants are honoured while the controller is away
  bool events = true;                 // the controller knows "events", as this one does; an older one does not say so
};
Json to_json(const ConnectorSelf& s);
Result<ConnectorSelf> connector_self_from_json(const Json& j);

// self, told to relays.
struct RelaySelf {
  std::string id;                     // 16 hex digits
  std::string name;
  std::string issuer;                 // instance name that the certificates of connectors must carry
  std::string address;                // "HOST:PORT" at which agents are told to find it
  Buffer ticket_key;                  // 32 bytes; see core/ticket.h
};
Json to_json(const RelaySelf& s);
Result<RelaySelf> relay_self_from_json(const Json& j);

// revoked/DEVICE, told to connectors: JSON number, the generation below which grants of that device are void.

// The frames of a control stream: u32 length, then that many bytes of UTF-8 JSON with a "type". Only the controller's
// own words, and an administrator's to it, come near kControlFrameMax: a snapshot of 100,000 Resources is about 20 MB.
// The controller reads at most kControlBeforeIdentity bytes from a peer without a certificate.
inline constexpr std::size_t kControlFrameMax = 64u << 20;
inline constexpr std::size_t kControlBeforeIdentity = 64u << 10;

// unknown_message says that a message has a type that its reader does not know: "unknown message "TYPE"". Whoever hears
// one says so in an "error" and closes, controller, agent and relay alike: a newer side says what is new only to a peer
// whose hello told of it.
std::string unknown_message(std::string_view type);

// ControlReader cuts a byte stream into messages. Sans-I/O.
class ControlReader {
 public:
  explicit ControlReader(std::size_t max = kControlFrameMax) : max_(max) {}
  void set_max(std::size_t max) noexcept { max_ = max; }
  void feed(Bytes b);
  // next returns the next whole message, nothing when more bytes are needed, or Errc::protocol for a frame above the
  // maximum, bytes that are not JSON, or an object without a string "type". After an error the stream must end.
  Result<std::optional<Json>> next();

 private:
  Buffer pending_;
  std::size_t at_ = 0;
  std::size_t max_;
  bool broken_ = false;
};
// control_frame is for messages that their sender keeps small; one above kControlFrameMax breaks an invariant.
Buffer control_frame(const Json& message);
// try_control_frame is for those that grow with what people write. Errors: exhausted above kControlFrameMax.
Result<Buffer> try_control_frame(const Json& message);
Result<Buffer> try_control_frame(std::string_view text);   // of a message that is JSON already

}  // namespace tg
