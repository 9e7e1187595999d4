#include "cmd/controller/backup.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <filesystem>

#include "cmd/controller/secrets.h"
#include "cmd/controller/state_dir.h"
#include "controller_support.h"
#include "net/files.h"

namespace tg::controller::controller_backup_test {

constexpr const char* kPassphrase = "correct horse battery staple";

// A controller's directory with a state in it, whose database stays open, as that of a controller that runs.
struct BackupTest : testing::Test {
  Folder folder;
  std::string state = folder / "state";
  std::string file = folder / "tg.db";
  std::optional<StateDir> dir = must(StateDir::open(state));
  std::optional<Vault> vault = must(Vault::open(dir->master_key(), true));
  std::optional<Store> store = must(Store::open(dir->database()));
  std::optional<Secrets> secrets = must(load_secrets(*store, *vault, kNow));

  void SetUp() override {
    must(begin_audit(*store, *vault, *secrets));
    must(store->apply(home(), false, kNow));
  }
  static Unlocking by_passphrase(const char* text = kPassphrase) { return {text, ""}; }
  std::vector<std::string> left(const std::string& path) {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(path)) out.push_back(entry.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }
  // refused restores into a new directory, and sees that nothing but the lock came to be there.
  Error refused(const Unlocking& with, const std::string& from = {}) {
    const std::string to = folder / "refused";
    const auto restored = restore_backup(from.empty() ? file : from, to, with, kNow);
    EXPECT_FALSE(restored);
    if (std::filesystem::exists(to)) {
      EXPECT_EQ(left(to), std::vector<std::string>{"lock"});
    }
    std::filesystem::remove_all(to);
    return restored ? Error{Errc::failed, "restored"} : restored.error();
  }
};
using ABackup = BackupTest;

TEST_F(ABackup, is_the_state_at_one_moment_and_brings_everything_back) {
  const std::string device = enrolled(*store, Token::Role::device, "alice@example.com", "thumb");
  const BackupInfo made = must(make_backup(state, file, kPassphrase, kNow));
  EXPECT_TRUE(made.has_key);
  EXPECT_EQ(made.instance, secrets->pki.instance());
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  must(store->remove_device(device, kNow));
  must(store->apply({}, true, kNow));

  const std::string to = folder / "restored";
  const BackupInfo restored = must(restore_backup(file, to, by_passphrase(), kNow));
  EXPECT_EQ(restored.made, kNow);
  EXPECT_EQ(restored.instance, made.instance);
  EXPECT_EQ(left(to), (std::vector<std::string>{"controller.db", "lock", "master.key"}));
  Store again = must(Store::open(to + "/controller.db"));
  const Model model = must(again.model());
  EXPECT_TRUE(plan(desired(model), home(), true).empty());
  ASSERT_NE(model.device(device), nullptr);
  EXPECT_EQ(model.device(device)->key, "thumb");
  EXPECT_GT(model.grant_floor, 0u) << "what was revoked since is unknown: no grant from before is good";
  const Secrets same = must(load_secrets(again, must(Vault::open(to + "/master.key", false)), kNow));
  EXPECT_FALSE(same.fresh);
  EXPECT_EQ(same.pki.instance(), secrets->pki.instance());
  EXPECT_EQ(same.keys.grant_key.public_key(), secrets->keys.grant_key.public_key());
  EXPECT_FALSE(same.audit_fresh);
  must(again.sign_audit_with({same.pki.instance(), same.audit_seed}));
  EXPECT_EQ(must(again.audit_state()).problem, "");
}

TEST_F(ABackup, without_a_passphrase_takes_the_master_key) {
  EXPECT_FALSE(must(make_backup(state, file, std::nullopt, kNow)).has_key);
  EXPECT_EQ(refused({}).text, file + " was made without a passphrase: it takes the master.key of its controller; see --master-key");
  EXPECT_EQ(refused(by_passphrase()).code, Errc::denied);
  must(net::write_file(folder / "other.key", std::string(32, 'x')));
  EXPECT_EQ(refused({std::nullopt, folder / "other.key"}).text, "the key is not that of " + file);
  must(net::write_file(folder / "short.key", "x"));
  EXPECT_EQ(refused({std::nullopt, folder / "short.key"}).code, Errc::malformed);
  EXPECT_EQ(refused({std::nullopt, folder / "no.key"}).code, Errc::not_found);
  must(restore_backup(file, folder / "restored", {std::nullopt, dir->master_key()}, kNow));
}

TEST_F(ABackup, is_opened_by_its_passphrase_and_no_other) {
  must(make_backup(state, file, kPassphrase, kNow));
  EXPECT_EQ(refused(by_passphrase("correct horse battery stable")).text, "the passphrase is not that of " + file);
  EXPECT_EQ(refused({}).text, file + " takes its passphrase; see --passphrase-file");
  const auto weak = make_backup(state, folder / "weak.db", "short", kNow);
  ASSERT_FALSE(weak);
  EXPECT_EQ(weak.error().code, Errc::invalid_argument);
  EXPECT_FALSE(std::filesystem::exists(folder / "weak.db"));
  must(restore_backup(file, folder / "by-key", {std::nullopt, dir->master_key()}, kNow));
}

// Row 30 of the threats: what a thief of the copy finds.
TEST_F(ABackup, holds_no_secret_in_the_clear) {
  const FreshToken token = must(store->new_token(Token::Role::device, "alice@example.com", kNow, std::chrono::minutes(10)));
  must(make_backup(state, file, kPassphrase, kNow));
  const std::string bytes = must(net::read_file(file));
  const std::string master = must(net::read_file(dir->master_key()));
  const auto absent = [&](std::string_view what) { return bytes.find(what) == std::string::npos; };
  EXPECT_TRUE(absent(master));
  EXPECT_TRUE(absent(kPassphrase));
  EXPECT_TRUE(absent("PRIVATE KEY"));
  EXPECT_TRUE(absent(secrets->pki.files().root_key.substr(40, 30)));
  EXPECT_TRUE(absent(as_text(secrets->keys.grant_key.seed())));
  EXPECT_TRUE(absent(as_text(secrets->keys.ticket_key)));
  EXPECT_TRUE(absent(as_text(secrets->audit_seed)));
  EXPECT_TRUE(absent(as_text(token.secret)));
  EXPECT_FALSE(absent("nas.home.int")) << "what is no secret is there";
}

TEST_F(ABackup, overwrites_nothing) {
  must(net::write_file(file, "mine"));
  EXPECT_EQ(make_backup(state, file, kPassphrase, kNow).error().code, Errc::conflict);
  EXPECT_EQ(must(net::read_file(file)), "mine");
  std::filesystem::remove(file);
  must(make_backup(state, file, kPassphrase, kNow));
  const auto running = restore_backup(file, state, by_passphrase(), kNow);
  EXPECT_EQ(running.error().code, Errc::conflict) << "a controller has it";
  dir.reset();
  const auto over = restore_backup(file, state, by_passphrase(), kNow);
  ASSERT_FALSE(over);
  EXPECT_NE(over.error().text.find("a backup is restored into an empty directory"), std::string::npos) << over.error().text;
  EXPECT_TRUE(plan(desired(must(store->model())), home(), true).empty());
}

TEST_F(ABackup, that_is_damaged_or_none_is_refused_and_leaves_nothing) {
  must(make_backup(state, file, kPassphrase, kNow));
  const std::string whole = must(net::read_file(file));
  const std::string bad = folder / "bad.db";
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, whole.size() / 2}) {
    must(net::write_file(bad, whole.substr(0, size)));
    const Error why = refused(by_passphrase(), bad);
    EXPECT_TRUE(why.code == Errc::malformed || why.code == Errc::io) << size << ": " << why.text;
  }
  must(net::write_file(bad, "no database at all, but long enough to look like one " + std::string(5000, '.')));
  EXPECT_EQ(refused(by_passphrase(), bad).code, Errc::malformed);
  EXPECT_EQ(refused(by_passphrase(), dir->database()).text, dir->database() + " is no backup of a tg controller");
  EXPECT_EQ(refused(by_passphrase(), folder / "nowhere.db").code, Errc::not_found);
  EXPECT_EQ(make_backup(folder / "nowhere", folder / "x.db", kPassphrase, kNow).error().code, Errc::not_found);
  EXPECT_FALSE(std::filesystem::exists(folder / "x.db"));
}

TEST_F(ABackup, of_a_newer_tg_is_refused) {
  must(make_backup(state, file, kPassphrase, kNow));
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open(file.c_str(), &raw), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(raw, "PRAGMA user_version = 99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(raw);
  EXPECT_EQ(refused(by_passphrase()).code, Errc::unsupported);
}

}  // namespace tg::controller::controller_backup_test
