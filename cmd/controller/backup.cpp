#include "cmd/controller/backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "cmd/controller/schema.h"
#include "cmd/controller/secrets.h"
#include "cmd/controller/state_dir.h"
#include "net/files.h"

namespace tg::controller {
namespace {

constexpr std::string_view kSealedKey = "master-key";   // what the vault of the passphrase calls it
constexpr std::size_t kSalt = 16;
// RFC 7914 section 2: 64 MiB and some tenths of a second for each guess.
constexpr std::uint64_t kScryptN = 1u << 16, kScryptR = 8, kScryptP = 1;

struct Close {
  void operator()(sqlite3* db) const noexcept { sqlite3_close_v2(db); }
};
using Handle = std::unique_ptr<sqlite3, Close>;

// Scrap removes a file at the end of a scope, unless it was kept.
class Scrap {
 public:
  explicit Scrap(std::string path) : path_(std::move(path)) {}
  ~Scrap() {
    if (path_.empty()) return;
    for (const char* more : {"", "-journal", "-wal", "-shm"}) ::unlink((path_ + more).c_str());
  }
  Scrap(const Scrap&) = delete;
  Scrap& operator=(const Scrap&) = delete;
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

Error sqlite_error(sqlite3* db, const std::string& path) {
  const int code = db != nullptr ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
  const bool damaged = code == SQLITE_NOTADB || code == SQLITE_CORRUPT;
  return {damaged ? Errc::malformed : Errc::io, fmt::format("{}: {}", path, db != nullptr ? sqlite3_errmsg(db) : "out of memory")};
}

Result<Handle> open_as(const std::string& path, int flags, std::chrono::seconds patience) {
  sqlite3* raw = nullptr;
  const int rc = sqlite3_open_v2(path.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  Handle out(raw);
  if (rc != SQLITE_OK) return tl::unexpected(sqlite_error(raw, path));
  sqlite3_busy_timeout(raw, static_cast<int>(patience.count() * 1000));
  return out;
}

// copy_database copies all of a database at one moment into a new file, which is no write-ahead log any more.
Result<> copy_database(const std::string& from, const std::string& to, std::chrono::seconds patience) {
  const int fd = ::open(to.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return tl::unexpected(net::os_error(errno, "create " + to));
  ::close(fd);
  auto source = open_as(from, SQLITE_OPEN_READONLY, patience);
  if (!source) return pass_on(source);
  auto target = open_as(to, SQLITE_OPEN_READWRITE, patience);
  if (!target) return pass_on(target);
  sqlite3_backup* copying = sqlite3_backup_init(target->get(), "main", source->get(), "main");
  if (copying == nullptr) return tl::unexpected(sqlite_error(target->get(), to));
  const int rc = sqlite3_backup_step(copying, -1);   // waits for locks as long as busy_timeout says
  sqlite3_backup_finish(copying);
  if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED) return fail(Errc::timed_out, from + " is locked; see --timeout");
  if (rc != SQLITE_DONE) return tl::unexpected(sqlite_error(target->get(), to));
  if (sqlite3_exec(target->get(), "PRAGMA journal_mode=DELETE", nullptr, nullptr, nullptr) != SQLITE_OK) {
    return tl::unexpected(sqlite_error(target->get(), to));
  }
  return {};
}

Result<Vault> vault_of(const std::string& passphrase, Bytes salt) {
  Buffer key(32);
  constexpr std::size_t kMemory = 128 * kScryptN * kScryptR + (1u << 20);
  TG_CHECK(EVP_PBE_scrypt(passphrase.data(), passphrase.size(), salt.data(), salt.size(), kScryptN, kScryptR, kScryptP, kMemory,
                          key.data(), key.size()) == 1);
  return Vault::of_key(std::move(key));
}

Result<Database> describe(const std::string& path, const BackupInfo& info, Bytes salt, Bytes key) {
  auto db = Database::open_plain(path);
  if (!db) return pass_on(db);
  auto made = db->script("CREATE TABLE backup (made INTEGER NOT NULL, tg TEXT NOT NULL, instance TEXT NOT NULL, "
                         "salt BLOB NOT NULL, key BLOB NOT NULL) STRICT");
  if (!made) return pass_on(made);
  auto put = db->run("INSERT INTO backup VALUES (?, ?, ?, ?, ?)",
                     {static_cast<std::int64_t>(info.made.time_since_epoch().count()), info.tg, info.instance, salt, key});
  if (!put) return pass_on(put);
  return db;
}

Result<> finish(const std::string& from, const std::string& to) {
  const net::Fd file(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || ::fsync(file.get()) != 0) return tl::unexpected(net::os_error(errno, "write " + from));
  if (::rename(from.c_str(), to.c_str()) != 0) return tl::unexpected(net::os_error(errno, "write " + to));
  const auto folder = std::filesystem::path(to).parent_path();
  const net::Fd dir(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) != 0) return tl::unexpected(net::os_error(errno, "write " + folder.string()));
  return {};
}

// Kept is what a backup holds beside the state.
struct Kept {
  BackupInfo info;
  Buffer salt;
  Buffer key;
};

Result<Kept> read_kept(Database& db, const std::string& path) {
  std::string damage;
  auto checked = db.each("PRAGMA integrity_check(1)", {}, [&](const Row& row) { damage = row.text(0); });
  if (!checked || damage != "ok") {
    return fail(Errc::malformed, fmt::format("{} is damaged: {}", path, checked ? damage : checked.error().text));
  }
  std::optional<Kept> out;
  auto read = db.each("SELECT made, tg, instance, salt, key FROM backup", {}, [&](const Row& row) {
    out = Kept{{UnixTime(std::chrono::seconds(row.number(0))), row.text(1), row.text(2), !row.blob(4).empty()}, row.blob(3),
               row.blob(4)};
  });
  if (!read || !out) return fail(Errc::malformed, path + " is no backup of a tg controller");
  return std::move(*out);
}

Result<Buffer> master_key_of(const Kept& kept, const Unlocking& with, const std::string& path) {
  if (!with.master_key.empty()) {
    auto text = net::read_file(with.master_key);
    if (!text) return pass_on(text);
    if (text->size() != 32) return fail(Errc::malformed, with.master_key + " is not a key of 32 bytes");
    return Buffer(text->begin(), text->end());
  }
  if (!kept.info.has_key) {
    return fail(Errc::denied, path + " was made without a passphrase: it takes the master.key of its controller; see --master-key");
  }
  if (!with.passphrase) return fail(Errc::denied, path + " takes its passphrase; see --passphrase-file");
  auto vault = vault_of(*with.passphrase, kept.salt);
  if (!vault) return pass_on(vault);
  auto key = vault->unseal(kSealedKey, kept.key);
  if (!key) return fail(Errc::denied, "the passphrase is not that of " + path);
  return key;
}

}  // namespace

Result<BackupInfo> make_backup(const std::string& state, const std::string& path, const std::optional<std::string>& passphrase,
                               UnixTime now, std::chrono::seconds patience) {
  if (passphrase && passphrase->size() < kPassphraseMin) {
    return fail(Errc::invalid_argument, fmt::format("the passphrase is shorter than {} bytes", kPassphraseMin));
  }
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0) return fail(Errc::conflict, path + " exists already; choose another name");
  const std::string database = state + "/controller.db";
  if (::access(database.c_str(), R_OK) != 0 && errno == ENOENT) {
    return fail(Errc::not_found, "there is no controller in " + state + "; see --state");
  }
  const std::string half = path + ".new";
  ::unlink(half.c_str());
  Scrap scrap(half);
  if (auto copied = copy_database(database, half, patience); !copied) return pass_on(copied);

  auto db = Database::open_plain(half);
  if (!db) return pass_on(db);
  Store store = Store::attach(std::move(*db));
  auto vault = Vault::open(state + "/master.key", false);
  if (!vault) return pass_on(vault);
  auto secrets = load_secrets(store, *vault, now, Loading::read_only);
  if (!secrets) return pass_on(secrets);
  BackupInfo info{now, TG_VERSION, secrets->pki.instance(), passphrase.has_value()};
  Buffer salt, key;
  if (passphrase) {
    salt = random_bytes(kSalt);
    auto master = net::read_file(state + "/master.key");
    if (!master) return pass_on(master);
    auto own = vault_of(*passphrase, salt);
    if (!own) return pass_on(own);
    key = own->seal(kSealedKey, as_bytes(*master));
  }
  if (auto described = describe(half, info, salt, key); !described) return pass_on(described);
  if (auto done = finish(half, path); !done) return pass_on(done);
  scrap.keep();
  return info;
}

Result<BackupInfo> restore_backup(const std::string& path, const std::string& state, const Unlocking& with, UnixTime now,
                                  std::chrono::seconds patience) {
  if (::access(path.c_str(), R_OK) != 0) return tl::unexpected(net::os_error(errno, "read " + path));
  auto dir = StateDir::open(state);
  if (!dir) return pass_on(dir);
  for (const std::string& there : {dir->database(), dir->master_key()}) {
    if (::access(there.c_str(), F_OK) == 0) {
      return fail(Errc::conflict, there + " is there already: a backup is restored into an empty directory; see --state");
    }
  }
  const std::string half = dir->database() + ".new";
  ::unlink(half.c_str());
  Scrap scrap(half);
  if (auto copied = copy_database(path, half, patience); !copied) return pass_on(copied);
  auto db = Database::open_plain(half);
  if (!db) return pass_on(db);
  auto kept = read_kept(*db, path);
  if (!kept) return pass_on(kept);
  auto key = master_key_of(*kept, with, path);
  if (!key) return pass_on(key);
  if (auto dropped = db->script("DROP TABLE backup"); !dropped) return pass_on(dropped);
  if (auto ready = ensure_schema(*db); !ready) return pass_on(ready);
  Store store = Store::attach(std::move(*db));
  auto vault = Vault::of_key(*key);
  if (!vault) return pass_on(vault);
  if (auto secrets = load_secrets(store, *vault, now, Loading::read_only); !secrets) {
    const bool wrong = secrets.error().code == Errc::denied;
    return fail(secrets.error().code, wrong ? "the key is not that of " + path : secrets.error().text);
  }
  // What was revoked since the backup was made is unknown now: nobody's grants are good, and who may gets new ones.
  if (auto voided = store.void_all_grants(); !voided) return pass_on(voided);
  // The key first: a database without it is worth nothing, and a key without a database does no harm.
  if (auto written = net::write_file(dir->master_key(), as_text(*key)); !written) return pass_on(written);
  if (auto done = finish(half, dir->database()); !done) {
    ::unlink(dir->master_key().c_str());
    return pass_on(done);
  }
  scrap.keep();
  return kept->info;
}

}  // namespace tg::controller
