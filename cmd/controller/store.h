// What the controller remembers: SQLite, and the only place that knows its tables.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/controller/database.h"
#include "cmd/controller/directory.h"
#include "cmd/controller/model.h"
#include "core/audit.h"
#include "core/oidc.h"
#include "core/password.h"
#include "core/token.h"

namespace tg::controller {

// FreshToken is a token's id and secret at the only moment when the secret is known.
struct FreshToken {
  Buffer id;       // 16 bytes
  Buffer secret;   // 32 bytes; the store keeps its SHA-256
  UnixTime expires{};
};

// Enrolment is what a machine shows to be let in for the first time.
struct Enrolment {
  Buffer token_id;
  Buffer secret;
  Token::Role role = Token::Role::device;
  std::string name;         // what it calls itself
  std::string key;          // thumbprint of its TLS key
};

// SignIn is somebody whom an identity provider has vouched for, or who knew his password, on a machine.
struct SignIn {
  OidcProvider provider;    // as it was asked; without a name for a password: of `person` only the address and the methods count
  Person person;
  std::string device;       // the id of a device that is known; "" for a new one, which has
  std::string name;         // what it calls itself, and
  std::string key;          // the thumbprint of its TLS key
  std::chrono::seconds lifetime{};   // of a session by password
};

// PasswordRecord is how a user's password is checked.
struct PasswordRecord {
  Buffer salt;
  PasswordCost cost;
  Buffer verifier;          // SHA-256 of its password_key
  bool totp = false;        // a code is asked for too
};
struct TotpRecord {
  Buffer secret;            // sealed by the caller
  std::uint64_t last = 0;   // the step of the last code that was taken
};

// SignedIn is what that has come to.
struct SignedIn {
  std::string device;       // its id
  std::string user;         // e-mail address
  UnixTime until{};         // when the session ends
};

// WebCaller is whom a browser's session stands for.
struct WebCaller {
  std::string user;         // e-mail address
  Role role = Role::member;
  UnixTime until{};         // when the session ends
};

// Findings of a desired state, seen in what is there already. With problems or failures it is not applied.
struct Findings {
  std::vector<Problem> problems;    // what makes it impossible
  std::vector<Problem> failures;    // tests that would not hold
};

// Once is a change that is not to be made again when it is asked for again. Both are hashes of 32 bytes.
struct Once {
  Buffer key;      // of who asks, and of what he calls it
  Buffer asked;    // of what it is
};

// DoneOnce is such a change that was made.
struct DoneOnce {
  Buffer asked;
  std::optional<Buffer> answer;     // what keep_answer was given
};

// ApiCaller is whom an API token stands for.
struct ApiCaller {
  std::string token;                // the 8 hex digits of ApiTokenRecord
  std::string user;                 // e-mail address, or the name of a service
  Role role = Role::member;
  Scopes scopes;
  UnixTime expires{};               // of the token
};

// Stamp is who changes something, from where and when: it goes into the audit log. A time alone is tg's own doing.
struct Stamp {
  Stamp(UnixTime t) : time(t) {}   // NOLINT: a time is the least that a change has
  Stamp(UnixTime t, std::string by, std::string at) : time(t), who(std::move(by)), from(std::move(at)) {}
  UnixTime time;
  std::string who = "tg";
  std::string from;
  std::optional<Once> once{};       // it is kept with the change, if there is one
};

// AuditSigner is what the end of the audit log is signed with.
struct AuditSigner {
  std::string instance;
  Buffer seed;                      // 32 bytes, Ed25519
  bool fresh = false;               // it was made just now: the log begins
};

// AuditState is what a look at the whole audit log found.
struct AuditState {
  AuditHead head;
  std::string problem;              // "" when nothing was altered
};

// Store is the state on the disk. What a call acknowledged has been synced. Every change of what the model shows is one
// write transaction that raises the revision, that voids the grants of each device which may reach less than before, and
// that has its entry in the audit log. Errors everywhere: io and timed_out of the database, beside those named. Not thread-safe; several Stores on
// one file are safe.
class Store {
 public:
  // open makes the tables in an empty file. Errors: unsupported when a newer tg wrote it.
  static Result<Store> open(const std::string& path);

  Result<Model> model();
  // directory returns the model with its look-ups. It is kept until something changes, and lives for as long as anybody holds it.
  Result<std::shared_ptr<const Directory>> directory();
  std::uint64_t revision() const noexcept { return revision_; }   // of the last model or change here

  // attach takes a database that is open and has its tables: a copy.
  static Store attach(Database database) { return Store(std::move(database)); }

  // limit_devices says how many devices a person may have. For one more, the oldest goes that is signed out; where there is none, a
  // token and a sign-in are refused (exhausted).
  static constexpr std::size_t kDevicesMost = 20;
  void limit_devices(std::size_t most) { devices_most_ = most; }

  // Small values by name: the CA, the grant key (sealed by the caller), settings.
  Result<std::optional<Buffer>> value(std::string_view name);
  Result<> set_value(std::string_view name, Bytes value);

  // examine returns what there is to say against applying a file. Users who came by signing in stay, whether it names them or not.
  Result<Findings> examine(const DesiredState& file, bool prune);
  // plan returns what apply would do, and changes nothing. Errors: conflict when the result would be impossible
  // (problems()) or one of the tests in the file would not hold, exhausted when it would be too big (check_limits).
  Result<std::vector<Change>> plan(const DesiredState& file, bool prune);
  Result<std::vector<Change>> apply(const DesiredState& file, bool prune, const Stamp& by);
  // edit applies what `change` makes of the present state. Errors: those of `change`, and as plan.
  Result<std::vector<Change>> edit(const std::function<Result<>(DesiredState&)>& change, const Stamp& by);

  // rename gives an entry (`kind` as in Change) another name, and leaves its id, members and enrolment. Both names are
  // canonical. Errors: not_found; conflict when the name is taken; invalid_argument for an unknown kind.
  Result<> rename(const std::string& kind, std::string_view from, std::string_view to, const Stamp& by);

  // Errors: not_found. Blocking a device, or deleting it, voids its grants. One that is blocked is not trusted any more.
  enum class DeviceState : std::uint8_t { pending, trusted, blocked };
  Result<> set_device_state(std::string_view id, DeviceState state, const Stamp& by);
  Result<> remove_device(std::string_view id, const Stamp& by);

  // new_token makes a token for a user (by e-mail address), a connector or a relay (by name). Errors: not_found.
  // `trusted`: the device that it lets in is trusted from then on.
  Result<FreshToken> new_token(Token::Role role, std::string_view subject, const Stamp& by, std::chrono::seconds lifetime,
                               bool trusted = false);
  // enroll checks a token and spends it in one write transaction, and returns the agent's id: a new one for a device,
  // and for a connector or relay whose place another machine had. Errors: denied (unknown or wrong, for another role,
  // used already, its subject gone), expired. A refusal spends nothing. In the audit log it is
  // the token's doing, from `from`.
  Result<std::string> enroll(const Enrolment& who, UnixTime now, const std::string& from = {});

  // The keys of service accounts, by the 8 hex digits of ServiceKeyRecord, let in as many devices as come. new_key errors: not_found,
  // conflict (it has one of that name), exhausted (kServiceKeysMax). remove_key takes the devices that came in by it with it. Errors
  // of both others: not_found; rename_key's conflict.
  static constexpr std::size_t kServiceKeysMax = 100;
  static constexpr std::size_t kKeyDevicesMax = 10'000;   // that came in by one key; enroll then says exhausted
  Result<FreshToken> new_key(const std::string& service, const std::string& name, const Stamp& by, std::chrono::seconds lifetime);
  Result<> rename_key(const std::string& id, const std::string& name, const Stamp& by);
  Result<> remove_key(const std::string& id, const Stamp& by);
  // end_keys takes out the devices of keys that have expired, and returns whether there were any. forget_idle does so with devices of
  // keys that were not seen since `since`, but for blocked ones: containers do not say goodbye.
  Result<bool> end_keys(UnixTime now);
  Result<bool> forget_idle(UnixTime since, UnixTime now);

  // API tokens of a user (by e-mail address) or a service, by the 8 hex digits of ApiTokenRecord. Errors: not_found; of
  // new_api_token also conflict (there is one of that name), exhausted (kApiTokensMax).
  static constexpr std::size_t kApiTokensMax = 100;
  Result<FreshToken> new_api_token(const std::string& user, const std::string& name, const Scopes& scopes, const Stamp& by,
                                   std::chrono::seconds lifetime);
  Result<> remove_api_token(const std::string& id, const Stamp& by);
  // api_caller returns whom a token stands for: nothing when it is unknown or has expired, or the user is blocked. Its use is
  // noted, once a minute, which is no change.
  Result<std::optional<ApiCaller>> api_caller(Bytes id, Bytes secret, UnixTime now);

  // What was done with a Stamp that has `once`. keep_answer adds what was answered, sealed by the caller. forget_once forgets
  // what was done before that. None of these is in the audit log.
  Result<std::optional<DoneOnce>> done_once(Bytes key);
  Result<> keep_answer(Bytes key, Bytes sealed_answer);
  Result<> forget_once(UnixTime before);

  // sign_in begins a session of a device, in the place of one that it has, and makes the device when it is new, and the user when
  // he is of one of the provider's domains. What the provider told holds until the last session that it gave him is over. Errors:
  // denied (no user here, or a blocked one, another account, somebody else's device, a provider that is gone or was changed
  // since it was asked); exhausted. In the audit log it is the person's doing, from `from`.
  Result<SignedIn> sign_in(const SignIn& who, UnixTime now, const std::string& from = {});
  // end_session voids the grants of a device that needs its session. Errors: not_found.
  Result<> end_session(const std::string& device, const Stamp& by);
  // end_sessions ends those whose time is over, and returns whether there were any.
  Result<bool> end_sessions(UnixTime now);
  // forget_accounts has the next sign-in of a user go by his e-mail address again, and ends the sessions that his accounts gave. Errors:
  // not_found.
  Result<> forget_accounts(const std::string& email, const Stamp& by);

  // The sessions of browsers. `id` is the SHA-256 of what the browser shows. web_sign_in lets in whom sign_in does, but makes no
  // device; it is for kWebSessionMost at most, and one more than kWebSessionsMost of one user takes the place of his oldest.
  // Errors: as sign_in. web_caller returns nothing when there is no such session (any more), or the user is blocked. end_web_session
  // errors: not_found. end_web_sessions ends those whose time is over.
  static constexpr std::chrono::seconds kWebSessionMost = std::chrono::hours(12);
  static constexpr std::int64_t kWebSessionsMost = 20;
  Result<WebCaller> web_sign_in(const SignIn& who, Bytes id, UnixTime now, const std::string& from = {});
  Result<std::optional<WebCaller>> web_caller(Bytes id, UnixTime now);
  Result<> end_web_session(Bytes id, const Stamp& by);
  Result<> end_web_sessions(UnixTime now);

  // What people ask for where a policy wants approval. new_request errors: not_found (the Resource, for whom nothing is reached by
  // asking), conflict (it was asked for already), exhausted (kRequestsMax of one user). decide errors: not_found; invalid_argument for
  // longer than the policy allows. `for_how_long`: nothing denies it, or ends what was approved.
  static constexpr std::size_t kRequestsMax = 20;
  Result<std::string> new_request(const RequestRecord& wish, UnixTime now, const std::string& from = {});
  Result<> decide(const std::string& id, std::optional<std::chrono::seconds> for_how_long, const Stamp& by);

  // What a user proves himself with. Without a record the password, or the second factor, is taken away. Either ends the user's
  // sessions by password. Errors of the setters: not_found. use_totp returns false when a code of that step was taken before.
  Result<> set_password(const std::string& email, const std::optional<PasswordRecord>& record, const Stamp& by);
  Result<> set_totp(const std::string& email, const std::optional<TotpRecord>& record, const Stamp& by);
  Result<std::optional<PasswordRecord>> password(const std::string& email);
  Result<std::optional<TotpRecord>> totp(const std::string& email);
  Result<bool> use_totp(const std::string& email, std::uint64_t step);

  // The client secret of an identity provider, sealed by the caller. Empty bytes take it away. Errors: not_found.
  Result<> set_provider_secret(const std::string& name, Bytes sealed, const Stamp& by);
  Result<std::optional<Buffer>> provider_secret(const std::string& name);

  // sign_audit_with has the end of the audit log signed from now on; call it before the first change. Errors: failed when the
  // log does not end as it was signed last. It is then never signed again, nor when that is found out at a change.
  Result<> sign_audit_with(AuditSigner signer);
  // audit returns entries with a number above `after`, the oldest first: up to `most`, and about 4 MiB.
  Result<std::vector<std::string>> audit(std::uint64_t after, std::size_t most);
  // broken says why nothing is written any more, or nothing; see Database.
  const std::optional<Error>& broken() const noexcept { return db_.broken(); }
  std::uint64_t audit_last() const noexcept { return audit_head_.number; }
  // audit_state reads the whole log. With `noted`, a head that somebody wrote down, the log must also still go through it.
  Result<AuditState> audit_state(const std::optional<AuditHead>& noted = {});

  // void_all_grants voids every grant that there is, also of devices that this store does not know, and ends every session: it is
  // an older state that takes the place of a newer one.
  Result<> void_all_grants();

  // seen notes when agents were here last, by "ROLE/ID".
  Result<> seen(const std::map<std::string, UnixTime>& agents);

 private:
  explicit Store(Database database) : db_(std::move(database)) {}
  // What a transaction notes in the audit log.
  struct Noted {
    const char* action;
    std::string kind;
    std::string name;
    std::string before = "null";      // JSON
    std::string after = "null";
  };
  using Notes = std::vector<Noted>;
  // These read inside the caller's transaction. void_lost voids the grants of who has lost something, and tells `after` of it.
  Result<Model> read_model();
  Result<std::shared_ptr<const Directory>> read_directory();
  Result<> void_lost(const Directory& before, Directory& after, UnixTime now);
  using Work = std::function<Result<>(Database&, Notes&)>;
  enum class Effect : std::uint8_t { grows, may_shrink };
  Result<> change(const Stamp& by, Effect effect, const Work& work);
  // write_audit adds the notes inside the caller's transaction, and keeps what is done once. It returns the new end of the log.
  Result<AuditHead> write_audit(const Stamp& by, const Notes& notes);
  Result<> note_once(const Stamp& by);
  Result<> write_audit_head(const AuditHead& head);
  Result<std::pair<AuditHead, Buffer>> read_audit_head();   // with its signature
  bool own_head(const AuditHead& head, Bytes signature) const;   // true also where nothing is signed
  // admit finds the user of somebody who is signing in, or makes one, and keeps what the provider told of him. `by` becomes him.
  struct Admitted;
  static Result<Admitted> admit(Database& db, const SignIn& who, Stamp& by, Notes& notes);
  // make_room lets a person have one more device: whoever logged out on one and signs in again needs it no more. `user`: his row.
  // Errors: exhausted.
  static Result<> make_room(Database& db, std::string_view user, std::size_t most, Notes& notes);
  static Notes notes_of(const DesiredState& before, const DesiredState& after, const std::vector<Change>& changes);
  Result<> revoke(const std::vector<std::string>& devices, UnixTime now);
  Result<std::vector<Change>> replace(const DesiredState& now_state, const DesiredState& wanted, bool prune,
                                      const Stamp& by);

  Database db_;
  std::uint64_t revision_ = 0;
  std::shared_ptr<const Directory> known_;   // that of the last look, or change
  std::size_t devices_most_ = kDevicesMost;
  std::optional<AuditSigner> signer_;
  bool audit_altered_ = false;      // then its end is signed no more: nobody may take it for whole again
  AuditHead audit_head_;
};

// carry_out does the steps of a plan inside the caller's transaction. Errors: conflict when a reference leads nowhere.
Result<> carry_out(Database& db, const DesiredState& wanted, const std::vector<Change>& changes, UnixTime now);

// stored_role and stored_scopes read a column of the database. What this tg does not know gives no right.
Role stored_role(std::int64_t number);
Scopes stored_scopes(std::string_view text);

// ports_from_text reads what Ports::to_string wrote. Errors: malformed.
Result<Ports> ports_from_text(std::string_view text);

}  // namespace tg::controller
