// The audit log in the store: written with each change, read in pieces, checked as a whole.
#include <fmt/format.h>

#include <unordered_map>

#include "cmd/controller/desired_json.h"
#include "cmd/controller/store.h"
#include "core/grant.h"
#include "core/json.h"

namespace tg::controller {
namespace {

// Entries finds the entries of a state by kind and name, as JSON.
class Entries {
 public:
  explicit Entries(const DesiredState& s) {
    add("network", s.networks, &NetworkSpec::name);
    add("connector", s.connectors, &ConnectorSpec::name);
    add("relay", s.relays, &RelaySpec::name);
    add("user", s.users, &UserSpec::email);
    add("group", s.groups, &GroupSpec::name);
    add("resource", s.resources, &ResourceSpec::name);
  }

  // text returns "null" for what is not there.
  std::string text(const std::string& kind, const std::string& name) const {
    const auto found = known_.find(kind + "/" + name);
    return found == known_.end() ? "null" : json_text(found->second());
  }

 private:
  template <class Spec>
  void add(const std::string& kind, const std::vector<Spec>& specs, std::string Spec::*name) {
    for (const Spec& s : specs) {
      known_.try_emplace(kind + "/" + s.*name, [&s] { return to_json(s); });
    }
  }
  std::unordered_map<std::string, std::function<Json()>> known_;
};

const char* verb(Change::Verb v) {
  switch (v) {
    case Change::Verb::create: return "create";
    case Change::Verb::update: return "update";
    case Change::Verb::remove: break;
  }
  return "remove";
}

}  // namespace

Store::Notes Store::notes_of(const DesiredState& before, const DesiredState& after, const std::vector<Change>& changes) {
  const Entries old(before);
  const Entries fresh(after);
  Notes out;
  for (const Change& c : changes) {
    const bool removed = c.verb == Change::Verb::remove;
    out.push_back({verb(c.verb), c.kind, c.name, old.text(c.kind, c.name), removed ? "null" : fresh.text(c.kind, c.name)});
  }
  return out;
}

Result<AuditHead> Store::write_audit(const Stamp& by, const Notes& notes) {
  if (notes.empty()) return audit_head_;
  auto kept = read_audit_head();
  if (!kept) return pass_on(kept);
  AuditHead head = std::move(kept->first);
  for (const Noted& n : notes) {
    const std::string text =
        audit_text({head.number + 1, by.time, by.who, by.from, n.action, n.kind, n.name, n.before, n.after});
    head = audit_next(head, text);
    auto done = db_.run("INSERT INTO audit (number, text, hash) VALUES (?, ?, ?)",
                        {static_cast<std::int64_t>(head.number), text, Bytes(head.hash)});
    if (!done) return pass_on(done);
  }
  if (auto done = write_audit_head(head); !done) return pass_on(done);
  return head;
}

Result<std::pair<AuditHead, Buffer>> Store::read_audit_head() {
  std::pair<AuditHead, Buffer> out;
  auto read = db_.each("SELECT number, hash, signature FROM audit_head", {}, [&](const Row& row) {
    out = {{static_cast<std::uint64_t>(row.number(0)), row.blob(1)}, row.blob(2)};
  });
  if (!read) return pass_on(read);
  return out;
}

Result<> Store::write_audit_head(const AuditHead& head) {
  const bool sign = signer_ && !audit_altered_;
  const Buffer signature = sign ? sign_head(head, signer_->instance, signer_->seed) : Buffer();
  auto done = db_.run("INSERT INTO audit_head VALUES (1, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET number = excluded.number, "
                      "hash = excluded.hash, signature = excluded.signature",
                      {static_cast<std::int64_t>(head.number), Bytes(head.hash), Bytes(signature)});
  if (!done) return pass_on(done);
  return {};
}

Result<> Store::sign_audit_with(AuditSigner signer) {
  signer_ = std::move(signer);
  auto kept = read_audit_head();
  if (!kept) return pass_on(kept);
  std::int64_t last = 0;
  auto read = db_.each("SELECT coalesce(max(number), 0) FROM audit", {}, [&](const Row& row) { last = row.number(0); });
  if (!read) return read;
  const auto& [head, signature] = *kept;
  audit_altered_ = last != static_cast<std::int64_t>(head.number) ||
                   (last != 0 && !head_signed(head, signer_->instance, signature, ed25519_public_key(signer_->seed)));
  if (!audit_altered_) return {};
  return fail(Errc::failed, "the end of the audit log is not what this controller signed last: its database was altered; see: "
                            "tg controller audit verify");
}

Result<std::vector<std::string>> Store::audit(std::uint64_t after, std::size_t most) {
  std::vector<std::string> out;
  auto read = db_.each("SELECT text FROM audit WHERE number > ? ORDER BY number LIMIT ?",
                       {static_cast<std::int64_t>(after), static_cast<std::int64_t>(most)},
                       [&](const Row& row) { out.push_back(row.text(0)); });
  if (!read) return pass_on(read);
  return out;
}

Result<AuditState> Store::audit_state(const std::optional<AuditHead>& noted) {
  AuditCheck check;
  Result<> good;
  bool met = !noted || noted->number == 0;
  auto read = db_.each("SELECT number, text, hash FROM audit ORDER BY number", {}, [&](const Row& row) {
    if (!good) return;
    good = check.add(static_cast<std::uint64_t>(row.number(0)), row.text(1), row.blob(2));
    if (noted && good && check.head().number == noted->number) met = check.head().hash == noted->hash;
  });
  if (!read) return pass_on(read);
  auto kept = read_audit_head();
  if (!kept) return pass_on(kept);
  TG_CHECK(signer_.has_value());
  if (good) good = check.end(kept->first, signer_->instance, kept->second, ed25519_public_key(signer_->seed));
  if (good && !met) {
    good = fail(Errc::failed, fmt::format("the audit log does not go through the entry {} that was noted: it was written anew",
                                          noted->number));
  }
  return AuditState{check.head(), good ? "" : good.error().text};
}

}  // namespace tg::controller
