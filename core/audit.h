// The record of what was changed, as a chain: no entry can be altered, taken out or put between others unseen.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/json_fwd.h"
#include "core/result.h"
#include "core/time.h"

namespace tg {

// AuditEntry is one change. Entries are numbered from 1, without gaps.
struct AuditEntry {
  std::uint64_t number = 0;
  UnixTime time{};
  std::string who;          // "root", "uid 1000", "token 3f2a…", "tg"
  std::string from;         // an address, "socket", or "" for tg itself
  std::string action;       // "create", "update", "remove", "rename", "token", "enroll"
  std::string kind;         // "resource", "device", …
  std::string name;
  std::string before;       // JSON of what there was; "null" for nothing
  std::string after;        // JSON of what there is now; "null" for nothing
};

// to_json has the entry's JSON in "before" and "after" as values.
Json to_json(const AuditEntry& e);
// audit_text is what is kept and hashed: one line of JSON.
std::string audit_text(const AuditEntry& e);

// AuditHead is the end of a chain: each hash is SHA-256(hash before ‖ text), the first over 32 zero bytes.
struct AuditHead {
  std::uint64_t number = 0;             // of the last entry; 0: there is none
  Buffer hash = Buffer(32, 0);
};
AuditHead audit_next(const AuditHead& head, std::string_view text);

// sign_head signs the number and hash of a head with an Ed25519 seed (RFC 8032), bound to this use and to `instance`.
Buffer sign_head(const AuditHead& head, std::string_view instance, Bytes seed);
bool head_signed(const AuditHead& head, std::string_view instance, Bytes signature, Bytes public_key);

// AuditCheck follows a chain from its beginning.
class AuditCheck {
 public:
  // add takes the next entry as it is kept. Errors: failed, and the text says which entry is wrong and how.
  Result<> add(std::uint64_t number, std::string_view text, Bytes hash);
  // end compares with the head that is kept. Errors: failed.
  Result<> end(const AuditHead& kept, std::string_view instance, Bytes signature, Bytes public_key) const;
  const AuditHead& head() const noexcept { return head_; }

 private:
  AuditHead head_;
};

}  // namespace tg
