// What an administrator's command asks of the running controller, and the answers. JSON in, JSON out, no I/O of its
// own.
//
//   {"type":"status"}                                             -> {"type":"ok","status":{…}}
//   {"type":"apply","state":{…},"dry_run":bool,"prune":bool}
//          -> {"type":"ok","changes":[…],"problems":[…],"failures":[…]}; see Findings
//   {"type":"state"}                                              -> {"type":"ok","state":{…}}
//   {"type":"token","role":"device"|"connector","subject":…,"expires":"10m"}
//                                                                 -> {"type":"ok","token":"tg1_…","expires":unix}
//   {"type":"key","service":…,"name":"","expires":"90d"}          -> {"type":"ok","key":"tg1_…","id":…,"expires":unix}
//   {"type":"api_token","user":…,"name":"","scopes":["AREA:read"|"AREA:write",…],"expires":"90d"}, "user": also a service
//                                                                 -> {"type":"ok","token":"tg1_…","id":…,"expires":unix}
//   {"type":"list","kind":K}                                      -> {"type":"ok","items":[…]}
//   {"type":"show","kind":K,"name":N}                             -> {"type":"ok","item":{…}}
//   {"type":"create"|"update"|"delete","kind":K,"name":N,"fields":{…}}  -> {"type":"ok","changes":[…]}
//   {"type":"secret","name":PROVIDER,"secret":…}, or "remove":true in its place to take it away  -> {"type":"ok"}
//   {"type":"password","name":USER,"salt":hex,"n":N,"r":R,"p":P,"verifier":hex}, or "remove":true likewise
//                                                                 -> {"type":"ok"}
//   {"type":"totp","name":USER,"remove":bool}                     -> {"type":"ok","uri":"otpauth://…"} ("": it is gone)
//   {"type":"audit","after":N,"most":M}                           -> {"type":"ok","entries":[…],"last":N}: the oldest first
//   {"type":"audit","newest":M}                                   -> the same, of the newest M
//   {"type":"events","most":M,"before":N}, of the newest without "before"; "user", "device", "resource", "connector", "kinds",
//          "since" and "until" choose some
//                   -> {"type":"ok","events":[…],"reached":N,"done":bool,"last":N}: the newest first; what is left is asked for
//                      with "before":reached, until it is done
//   {"type":"events","most":M,"after":N}   -> the same, the oldest first, and "after":reached
//   {"type":"verify_audit","number":N,"hash":hex} (both or none)  -> {"type":"ok","number":N,"hash":hex,"problem":""}
// or net::local_error.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmd/controller/control_server.h"
#include "cmd/controller/pki.h"
#include "cmd/controller/store.h"
#include "cmd/controller/vault.h"
#include "core/ip.h"
#include "core/json_fwd.h"

namespace tg::controller {

struct AdminApi {
  Store& store;
  const Pki& pki;
  const Vault& vault;
  HostPort public_address;                             // what tokens carry
  std::function<std::vector<OnlineAgent>()> online;
  std::function<void()> changed;                       // called after each change
  std::function<Json()> about;                         // what status adds: where the controller listens, and so on
  std::function<Result<Json>(const Json&)> events{};   // answers questions about events
  std::optional<HostPort> api_address{};               // what API tokens carry; nothing: public_address

  // `by`: who asks, from where and when.
  Json answer(const Json& request, const Stamp& by) const;

 private:
  Result<Json> status() const;
  Result<Json> apply(const Json& request, const Stamp& by) const;
  Result<Json> state() const;
  Result<Json> audit(const Json& request) const;
  Result<Json> verify_audit(const Json& request) const;
  Result<Json> token(const Json& request, const Stamp& by) const;
  Result<Json> key(const Json& request, const Stamp& by) const;
  Result<Json> edit_key(const std::string& verb, const std::string& name, const Json& fields, const Stamp& by) const;
  Result<Json> api_token(const Json& request, const Stamp& by) const;
  Result<Json> delete_api_token(const std::string& name, const Stamp& by) const;
  Result<Json> secret(const Json& request, const Stamp& by) const;
  Result<Json> password(const Json& request, const Stamp& by) const;
  Result<Json> totp(const Json& request, const Stamp& by) const;
  Result<Json> decide(const std::string& verb, const Json& request, const Stamp& by) const;
  Result<Json> end_session(const std::string& name, const Stamp& by) const;
  Result<Json> forget_accounts(const std::string& name, const Stamp& by) const;
  Result<std::shared_ptr<const Model>> model_for(const std::string& kind) const;
  Result<Json> list(const Json& request, UnixTime now) const;
  Result<Json> show(const Json& request, UnixTime now) const;
  Result<Json> edit(const std::string& verb, const Json& request, const Stamp& by) const;
  Result<Json> rename(const std::string& kind, const std::string& name, const Json& fields, const Stamp& by) const;
  Result<Json> edit_device(const std::string& verb, const std::string& name, const Json& fields, const Stamp& by) const;
};

// items lists the entries of a kind as JSON, for programs and for tables. Errors: invalid_argument for an unknown kind.
// Pure.
Result<Json> items(const Model& model, const std::vector<OnlineAgent>& online, const std::string& kind, UnixTime now);

}  // namespace tg::controller
