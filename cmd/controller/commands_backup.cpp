// tg controller backup and restore.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>

#include "cmd/controller/backup.h"
#include "cmd/controller/commands.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"
#include "net/loop.h"

namespace tg::controller {
namespace {

void tell(const std::string& line) { std::fputs((printable(line, 2000) + "\n").c_str(), stderr); }

struct BackupOptions {
  std::string state;
  bool json = false;
  std::chrono::seconds timeout{};
  std::string file;
  std::string passphrase_file;
  std::string master_key;
};

// passphrase_of reads the first line of a file, or of standard input for "-"; nothing for "".
Result<std::optional<std::string>> passphrase_of(const std::string& path) {
  if (path.empty()) return std::optional<std::string>();
  std::string text;
  if (path == "-") {
    std::getline(std::cin, text);
  } else {
    auto read = net::read_file(path);
    if (!read) return pass_on(read);
    text = read->substr(0, read->find('\n'));
  }
  if (text.ends_with('\r')) text.pop_back();
  return std::optional<std::string>(std::move(text));
}

void print(const BackupOptions& o, const BackupInfo& info) {
  if (o.json) {
    cmd::print_json({{"file", o.file}, {"instance", info.instance}, {"made", info.made.time_since_epoch().count()},
                     {"version", info.tg}, {"has_key", info.has_key}});
  }
}

Result<int> backup(const BackupOptions& o) {
  auto passphrase = passphrase_of(o.passphrase_file);
  if (!passphrase) return pass_on(passphrase);
  auto made = make_backup(o.state, o.file, *passphrase, net::Loop::wall(), o.timeout);
  if (!made) return pass_on(made);
  print(o, *made);
  tell(fmt::format("{} is controller {}{}", o.file, made->instance,
                  made->has_key ? "; it takes its passphrase to restore it"
                                : fmt::format("; to restore it, it takes {}/master.key, which is not in it: keep a copy of that "
                                              "elsewhere, once", o.state)));
  return 0;
}

Result<int> restore(const BackupOptions& o) {
  auto passphrase = passphrase_of(o.passphrase_file);
  if (!passphrase) return pass_on(passphrase);
  auto restored = restore_backup(o.file, o.state, {*passphrase, o.master_key}, net::Loop::wall(), o.timeout);
  if (!restored) return pass_on(restored);
  print(o, *restored);
  tell(fmt::format("controller {} is in {} as it was on {}; what was changed since then, devices that were "
                  "blocked too, is as it was before", restored->instance, o.state, utc_text(restored->made)));
  return 0;
}

}  // namespace

void add_backup_commands(cmd::Command controller) {
  auto out = std::make_shared<BackupOptions>();
  cmd::Command command = controller.add_command("backup", "Write all of the controller's state into one file, also while it runs",
                                                [out] { return backup(*out); });
  cmd::add_state_option(command, out->state, "controller");
  cmd::add_config_option(command);
  cmd::add_json_option(command, out->json);
  cmd::add_timeout_option(command, out->timeout, std::chrono::seconds(10));
  command.add_option("FILE", out->file, "The new file").required();
  command.add_option("--passphrase-file", out->passphrase_file,
                      "A file whose first line seals master.key in the backup; -: standard input. Without it the backup "
                      "can be restored with master.key alone, which is not in it")
      .type_name("FILE");

  auto in = std::make_shared<BackupOptions>();
  command = controller.add_command("restore", "Make the controller that a backup was made of, in an empty state directory",
                             [in] { return restore(*in); });
  cmd::add_state_option(command, in->state, "controller");
  cmd::add_config_option(command);
  cmd::add_json_option(command, in->json);
  cmd::add_timeout_option(command, in->timeout, std::chrono::seconds(10));
  command.add_option("FILE", in->file, "The backup").required();
  command.add_option("--passphrase-file", in->passphrase_file, "A file whose first line is its passphrase; -: standard input")
      .type_name("FILE");
  command.add_option("--master-key", in->master_key, "The master.key of its controller, in place of a passphrase")
      .type_name("FILE");
  command.footer("Agents find the restored controller where the old one was, with their own certificates: nobody is let in\n"
                 "anew. Never run both.");
}

}  // namespace tg::controller
