// Everything that the controller knows, as plain values in memory.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/desired_state.h"
#include "core/grant.h"
#include "core/resource.h"
#include "core/time.h"

namespace tg::controller {

struct ConnectorRecord {
  std::string id;                     // 16 hex digits
  std::string name;
  std::string network;
  std::string key;                    // RFC 7638 thumbprint of its TLS key; "" before its first enrolment
  UnixTime created{};
  std::optional<UnixTime> last_seen;
};

struct RelayRecord {
  std::string id;                     // 16 hex digits
  std::string name;
  std::string address;                // "HOST:PORT" as agents are told
  std::string key;                    // as a connector's
  UnixTime created{};
  std::optional<UnixTime> last_seen;
};

struct IdentityProviderRecord {
  IdentityProviderSpec spec;
  bool has_secret = false;
};

struct UserRecord {
  std::string email;
  bool by_sign_in = false;            // see UserSpec
  bool blocked = false;
  std::vector<std::string> accounts;  // the identity providers that know him, sorted
  bool password = false;              // he may sign in with one
  bool totp = false;                  // and then also has to type a code
  Role role = Role::member;
};

// ServiceKeyRecord is a key that lets in devices of a service account, as many as come.
struct ServiceKeyRecord {
  std::string id;                     // 8 hex digits: the beginning of the key's own id
  std::string service;
  std::string name;                   // what an administrator calls it; may be empty
  UnixTime created{};
  UnixTime expires{};
  std::optional<UnixTime> last_used;  // when it let in a device
};

// ApiTokenRecord is a token with which a program speaks to the controller in somebody's name.
struct ApiTokenRecord {
  std::string id;                     // 8 hex digits: the beginning of the token's own id
  std::string user;                   // e-mail address, or the name of a service
  std::string name;                   // may be empty
  Scopes scopes;
  UnixTime created{};
  UnixTime expires{};
  std::optional<UnixTime> last_used;  // to the minute
};

struct GroupRecord {
  std::string name;
  std::vector<std::string> members;   // e-mail addresses and services, sorted: those that an administrator names
  std::vector<Claim> claims;          // sorted
  std::vector<std::string> by_claim;  // whom a provider says one of these of, with a session from there, sorted; may be members too
  std::vector<std::string> once_by_claim;   // likewise, with or without a session: who would be, after signing in
  std::string policy{};               // by name; "": none
};

struct ResourceRecord {
  Resource resource;
  std::vector<std::string> groups;    // sorted
  std::string policy{};               // by name; "": none
};

// SessionRecord is what a sign-in bought a device.
struct SessionRecord {
  std::string provider;               // kByPassword without one
  std::vector<std::string> methods;   // amr
  std::string context;                // acr
  UnixTime started{};
  UnixTime expires{};
  std::optional<UnixTime> authenticated{};   // when he did so at the provider, as that says (auth_time)
};

struct DeviceRecord {
  std::string id;                     // 16 hex digits
  std::string user;                   // e-mail address, or the name of a service
  std::string name;                   // what the machine called itself
  std::string key;
  bool blocked = false;
  UnixTime created{};
  std::optional<UnixTime> last_seen;
  bool user_blocked = false;
  bool signs_in = false;              // it came by a sign-in, and reaches nothing without a session
  std::optional<SessionRecord> session{};
  std::string service_key{};          // the id of the one that let it in, or ""
  UnixTime key_expires = UnixTime::max();
  bool trusted = false;               // an administrator says so; see PolicySpec

  // let_in says whether it may be granted anything at `now`.
  bool let_in(UnixTime now) const {
    return !blocked && !user_blocked && now < key_expires && (!signs_in || (session && now < session->expires));
  }
  // reaches_until is when that ends by itself: with the session, or the key.
  UnixTime reaches_until() const { return signs_in ? (session ? session->expires : UnixTime()) : key_expires; }
};

// kRequestOpen is how long a request waits for its answer.
inline constexpr std::chrono::hours kRequestOpen(24 * 7);

// RequestRecord is somebody's wish to reach a Resource whose policy wants it approved, and what came of it.
struct RequestRecord {
  enum class State : std::uint8_t { open, approved, denied };
  std::string id;                     // 8 hex digits
  std::string user;
  std::string device;                 // the id of the one that asked
  ResourceId resource = 0;
  std::string resource_name;
  std::string reason;
  UnixTime asked{};
  std::chrono::seconds wanted{0};
  State state = State::open;
  std::string decided_by;
  std::optional<UnixTime> decided;
  UnixTime until{};                   // of an approved one
};

// Revocation voids the grants of a device that have a lower generation. It outlives its device by more than a grant lives.
struct Revocation {
  std::string device;
  Generation generation = 0;
};

// Model is one consistent reading of the store.
struct Model {
  std::uint64_t revision = 0;
  std::vector<std::string> networks;
  std::vector<ConnectorRecord> connectors;   // sorted by id
  std::vector<RelayRecord> relays;           // sorted by id
  std::vector<IdentityProviderRecord> identity_providers;   // sorted by name
  std::vector<PolicySpec> policies;          // sorted by name
  std::vector<UserRecord> users;             // sorted by e-mail address
  std::vector<ServiceSpec> services;         // sorted by name
  std::vector<ServiceKeyRecord> service_keys;   // sorted by service and age
  std::vector<ApiTokenRecord> api_tokens;    // sorted by user and age
  std::vector<GroupRecord> groups;
  std::vector<ResourceRecord> resources;
  std::vector<DeviceRecord> devices;         // sorted by id
  std::vector<RequestRecord> requests;       // the oldest first
  std::map<std::string, std::set<Claim>> told;   // see DesiredState
  std::vector<Revocation> revocations;
  Generation grant_floor = 0;                // see ConnectorSelf

  // These return null for an unknown id.
  const ConnectorRecord* connector(std::string_view id) const;
  const RelayRecord* relay(std::string_view id) const;
  const DeviceRecord* device(std::string_view id) const;
  // key returns the key of an agent of `role` ("device", "connector", "relay"): "" when it was never let in, nothing when
  // it is not there.
  std::optional<std::string> key(std::string_view role, std::string_view id) const;
};

// desired returns the part of `model` that a desired state can name.
DesiredState desired(const Model& model);

}  // namespace tg::controller
