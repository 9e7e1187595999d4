// The audit log in the store: written with each change, read in pieces, checked as a whole.
#include <fmt/format.h>

#include <set>
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
    add("identity-provider", s.identity_providers, &IdentityProviderSpec::name);
    add("policy", s.policies, &PolicySpec::name);
    add("user", s.users, &UserSpec::email);
    add("service", s.services, &ServiceSpec::name);
    add("group", s.groups, &GroupSpec::name);
    add("resource", s.resources, &ResourceSpec::name);
  }

  // find returns null for what is not there.
  Json find(const std::string& kind, const std::string& name) const {
    const auto found = known_.find(kind + "/" + name);
    return found == known_.end() ? Json() : found->second();
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

constexpr std::size_t kAuditAnswer = 4u << 20;   // bytes of entries in one answer, but for the last

// keep_differences leaves in the two only what differs: of lists what went, and what came. A group of thousands would
// otherwise be in the log twice for each member more.
void keep_differences(Json& before, Json& after) {
  for (auto it = after.begin(); it != after.end();) {
    Json& old = before[it.key()];
    if (old == *it) {
      before.erase(it.key());
      it = after.erase(it);
      continue;
    }
    if (old.is_array() && it->is_array()) {
      const std::set<Json> had(old.begin(), old.end()), has(it->begin(), it->end());
      const auto without = [](const Json& list, const std::set<Json>& others) {
        Json out = Json::array();
        for (const Json& one : list) {
          if (!others.contains(one)) out.push_back(one);
        }
        return out;
      };
      Json went = without(old, has);
      *it = without(*it, had);
      old = std::move(went);
    }
    ++it;
  }
}

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
    Json was = old.find(c.kind, c.name);
    Json is = c.verb == Change::Verb::remove ? Json() : fresh.find(c.kind, c.name);
    if (c.verb == Change::Verb::update) keep_differences(was, is);
    out.push_back({verb(c.verb), c.kind, c.name, json_text(was), json_text(is)});
  }
  return out;
}

Result<AuditHead> Store::write_audit(const Stamp& by, const Notes& notes) {
  if (notes.empty()) return audit_head_;
  if (auto done = note_once(by); !done) return pass_on(done);
  auto kept = read_audit_head();
  if (!kept) return pass_on(kept);
  AuditHead head = std::move(kept->first);
  // What was put there behind our back must not be made good by what comes after it.
  if (!own_head(head, kept->second)) audit_altered_ = true;
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

bool Store::own_head(const AuditHead& head, Bytes signature) const {
  return !signer_ || head_signed(head, signer_->instance, signature, ed25519_public_key(signer_->seed));
}

Result<> Store::sign_audit_with(AuditSigner signer) {
  signer_ = std::move(signer);
  auto kept = read_audit_head();
  if (!kept) return pass_on(kept);
  std::int64_t last = 0;
  auto read = db_.each("SELECT coalesce(max(number), 0) FROM audit", {}, [&](const Row& row) { last = row.number(0); });
  if (!read) return read;
  const auto& [head, signature] = *kept;
  // An empty log has a signed end too, from the moment when its key was made: later it can't be emptied unseen.
  if (signer_->fresh && last == 0) return write_audit_head({});
  audit_altered_ = last != static_cast<std::int64_t>(head.number) || !own_head(head, signature);
  if (!audit_altered_) return {};
  return fail(Errc::failed, "the end of the audit log is not what this controller signed last: its database was altered; see: "
                            "tg controller audit verify");
}

Result<std::vector<std::string>> Store::audit(std::uint64_t after, std::size_t most) {
  std::vector<std::string> out;
  std::size_t size = 0;
  while (out.size() < most && size < kAuditAnswer) {
    std::optional<std::string> text;
    auto read = db_.each("SELECT number, text FROM audit WHERE number > ? ORDER BY number LIMIT 1",
                         {static_cast<std::int64_t>(after)}, [&](const Row& row) {
                           after = static_cast<std::uint64_t>(row.number(0));
                           text = row.text(1);
                         });
    if (!read) return pass_on(read);
    if (!text) break;
    size += text->size();
    out.push_back(std::move(*text));
  }
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
