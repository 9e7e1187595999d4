// The HTTP API: who may ask what, preconditions, retries, and answers as HTTP says them. It reads no socket and no clock.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cmd/controller/admin_api.h"
#include "cmd/controller/api_endpoints.h"
#include "core/http_reader.h"
#include "core/rights.h"

namespace tg::controller {

// Caller is who asks.
struct Caller {
  std::string who;          // for the audit log: "root", "alice@example.com by API token 3f2a9c01"
  std::string from;         // "socket", or an address
  std::string user;         // whose own objects are his; "" on the controller's machine
  Role role = Role::member;
  Scopes scopes;
  UnixTime until = UnixTime::max();   // when that ends; no token that he makes is good for longer
};

// problem is an answer that says what is wrong (RFC 9457), with the Errc's name as "code".
HttpReply problem(int status, const Error& error);
// status_of is how HTTP calls an error.
int status_of(Errc code) noexcept;

// kNeedsToken is what somebody unknown is told.
inline constexpr std::string_view kNeedsToken = "an API token is needed: Authorization: Bearer tg1_…; see: tg controller api-token create --help";

// bearer_token returns what an Authorization header shows (RFC 6750 section 2.1), or nothing.
std::optional<std::string> bearer_token(const HttpAsked& asked);

class Api {
 public:
  Api(AdminApi admin, Store& store, const Vault& vault) : admin_(std::move(admin)), store_(store), vault_(vault) {}

  // is_public says whether a path is for everybody: what the API can do is no secret.
  static bool is_public(std::string_view path);
  // refusal is why somebody may not ask that at all, whatever is in it, by his scopes and role; nothing when he may.
  static std::optional<Error> refusal(const ApiMatch& match, const Caller& caller);
  // body_limit is how long the body of his request may be, in bytes. Errors: who may not ask that.
  static tl::expected<std::size_t, HttpRefusal> body_limit(const HttpAsked& head, const Caller& caller);

  // answer does what is asked. `caller`: nothing for somebody unknown.
  HttpReply answer(const HttpAsked& asked, const std::optional<Caller>& caller, UnixTime now) const;

  // waiting returns AdminApi's question of a request that waits for news ("wait_ms"), and nothing for any other, or a wrong one, or of
  // somebody who may not ask it.
  static std::optional<Json> waiting(const HttpAsked& asked, const Caller& caller);

 private:
  struct Asking;
  HttpReply ask(const ApiMatch& match, const HttpAsked& asked, const Caller& caller, UnixTime now) const;
  Result<> may(Asking& a) const;
  Result<> may_make(const Asking& a) const;
  Result<> may_act(const Asking& a) const;
  Result<std::optional<HttpReply>> unmet(const Asking& a) const;
  Result<Json> item(const Asking& a) const;
  Result<Json> own_item(const Asking& a) const;
  HttpReply carry_out(Asking& a) const;
  HttpReply shaped(const Asking& a, Json answer) const;

  AdminApi admin_;
  Store& store_;
  const Vault& vault_;
};

// etag is that of a text (RFC 9110 section 8.8.3). entry_etag is of what an administrator says of an entry: whether it is here now, and
// counts of what belongs to it, do not matter.
std::string etag(const Json& whole);
std::string entry_etag(const Json& item);

}  // namespace tg::controller
