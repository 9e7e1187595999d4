// A copy of the controller's state in one file, made while it runs, and the way back.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"

namespace tg::controller {

// BackupInfo is what a backup says of itself.
struct BackupInfo {
  UnixTime made{};
  std::string tg;              // version of the tg that made it
  std::string instance;        // of the controller
  bool has_key = false;        // it holds master.key, sealed with a passphrase
};

inline constexpr std::size_t kPassphraseMin = 12;   // bytes

// make_backup writes the state of the controller in the directory `state` into the new file `path` (mode 0600): the database
// as it was at one moment, also while a controller changes it, and with a passphrase `master.key`, sealed by scrypt
// (RFC 7914) and AES-256-GCM. Without one the secrets in it can be read with master.key alone. It is on the disk when this
// returns. Errors: conflict when `path` exists; not_found when there is no controller; invalid_argument for a passphrase below
// kPassphraseMin; timed_out when the database was locked for longer than `patience`; io. An error leaves no file.
Result<BackupInfo> make_backup(const std::string& state, const std::string& path, const std::optional<std::string>& passphrase,
                               UnixTime now, std::chrono::seconds patience = std::chrono::seconds(10));

// Unlocking is what opens the secrets of a backup: the passphrase, or the file master.key.
struct Unlocking {
  std::optional<std::string> passphrase;
  std::string master_key;      // path; "" for none
};

// restore_backup makes `state` the directory of the controller that `path` was made of. All of it is checked before anything is
// written. Errors: conflict when a controller runs in `state`, or has ever been there; malformed when the file is damaged or no
// backup; unsupported when a newer tg made it; denied when `with` does not open it; not_found;
// timed_out as above; io.
Result<BackupInfo> restore_backup(const std::string& path, const std::string& state, const Unlocking& with, UnixTime now,
                                  std::chrono::seconds patience = std::chrono::seconds(10));

}  // namespace tg::controller
