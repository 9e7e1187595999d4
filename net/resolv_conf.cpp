#include "net/resolv_conf.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "core/encoding.h"
#include "dns/resolv_conf.h"
#include "net/files.h"
#include "net/socket.h"

namespace tg::net {
namespace {

constexpr std::string_view kMagic = "tg resolv.conf 1";

// read_if_there returns nothing when there is no file.
Result<std::optional<std::string>> read_if_there(const std::string& path) {
  auto text = read_file(path);
  if (text) return std::move(*text);
  if (text.error().code == Errc::not_found) return std::nullopt;
  return pass_on(text);
}

Error write_error(int err, const std::string& path) {
  Error e = os_error(err, fmt::format("write {}", path));
  if (err == EPERM) e.text += "; is it immutable? See lsattr";
  return e;
}

Result<> write_all(int fd, std::string_view text, const std::string& path) {
  std::size_t at = 0;
  while (at < text.size()) {
    const ssize_t n = pwrite(fd, text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return tl::unexpected(write_error(n == 0 ? EIO : errno, path));
    at += static_cast<std::size_t>(n);
  }
  return {};
}

// write_in_place overwrites and then cuts, so that a reader sees our first lines at once and never an empty file.
Result<> write_in_place(const std::string& path, std::string_view text,
                        const std::function<void(std::string_view)>& step) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) {
    fd = Fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644));
    if (fd) fchmod(fd.get(), 0644);   // whatever the umask: every process reads it
  }
  if (!fd) return tl::unexpected(write_error(errno, path));
  step("overwrite");
  if (auto done = write_all(fd.get(), text, path); !done) return done;
  step("cut");
  if (ftruncate(fd.get(), static_cast<off_t>(text.size())) != 0) return tl::unexpected(write_error(errno, path));
  step("sync");
  // Some file systems under a bind mount cannot sync; the text is written all the same.
  if (fsync(fd.get()) != 0 && errno != EINVAL && errno != EROFS) return tl::unexpected(write_error(errno, path));
  return {};
}

Result<> sync_folder(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) return tl::unexpected(write_error(errno, path));
  return {};
}

// write_whole makes a file that after a crash is there whole or not at all, and is there once this has returned.
Result<> write_whole(const std::string& folder, const std::string& path, std::string_view text) {
  if (auto done = write_file(path, text); !done) return done;
  return sync_folder(folder);
}

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(realpath(path.c_str(), nullptr), std::free);
  return real ? std::string(real.get()) : path;
}

// Taken is what resolv.conf.taken says. Its form: the lines "tg resolv.conf 1", "file PATH", "there yes|no",
// "sha256 HEX" (of the text), an empty line, and the text.
struct Taken {
  std::string file;         // the file itself, not a link to it
  bool there = true;        // there was a file before
  std::string text;         // ours

  std::string to_string() const {
    return fmt::format("{}\nfile {}\nthere {}\nsha256 {}\n\n{}", kMagic, file, there ? "yes" : "no",
                       hex(sha256(as_bytes(text))), text);
  }
  static std::optional<Taken> parse(std::string_view s) {
    const auto line = [&](std::string_view key) -> std::optional<std::string> {
      const std::size_t end = s.find('\n');
      if (end == s.npos || !s.starts_with(key)) return std::nullopt;
      std::string value(s.substr(key.size(), end - key.size()));
      s.remove_prefix(end + 1);
      return value;
    };
    const auto magic = line(kMagic);
    auto file = line("file ");
    const auto there = line("there ");
    const auto sum = line("sha256 ");
    const auto gap = line("");
    if (!magic || !file || !there || !sum || !gap || *sum != hex(sha256(as_bytes(s)))) return std::nullopt;
    return Taken{std::move(*file), *there == "yes", std::string(s)};
  }
};

// torn says whether `now` is what write_in_place leaves when it is stopped on the way from `from` to `to`: the
// beginning of `to`, and behind it the rest of `from` or nothing. `from` itself counts.
bool torn(std::string_view now, std::string_view from, std::string_view to) {
  const auto differs = std::mismatch(now.begin(), now.end(), to.begin(), to.end()).first;
  const auto same = static_cast<std::size_t>(differs - now.begin());
  if (same == now.size()) return true;
  return now.size() == from.size() && now.substr(same) == from.substr(same);
}

bool is_held(std::string_view now, const Taken& t, std::string_view original) {
  return now == t.text || dns::is_ours(now) || torn(now, original, t.text) || torn(now, t.text, original);
}

}  // namespace

ResolvConfFile::ResolvConfFile(std::string path, std::string state_dir)
    : path_(std::move(path)), original_path_(state_dir + "/resolv.conf.original"),
      taken_path_(state_dir + "/resolv.conf.taken"), state_dir_(std::move(state_dir)) {}

Result<> ResolvConfFile::take(std::string_view text) {
  auto now = read_if_there(path_);
  if (!now) return pass_on(now);
  auto record = read_if_there(taken_path_);
  if (!record) return pass_on(record);
  auto kept = read_if_there(original_path_);
  if (!kept) return pass_on(kept);
  const auto before = *record && *kept ? Taken::parse(**record) : std::nullopt;

  Taken taken{real_path(path_), now->has_value(), std::string(text)};
  const std::string content = now->value_or("");
  const bool ours = before && before->file == taken.file && is_held(content, *before, **kept);
  if (ours) {
    taken.there = before->there;
  } else {
    if (dns::is_ours(content)) {
      return fail(Errc::conflict, fmt::format("{} is held by another tg client, or what it held before is lost: stop that "
                                              "client, or write your nameservers into the file", path_));
    }
    // What an earlier run noted is settled first: its file may be another one.
    if (*record) {
      if (auto done = restore(); !done) return pass_on(done);
    }
    step("keep the original");
    if (auto done = write_whole(state_dir_, original_path_, content); !done) return done;
  }
  step("note what is taken");
  if (auto done = write_whole(state_dir_, taken_path_, taken.to_string()); !done) return done;
  step("edit");
  return write_in_place(path_, text, [this](std::string_view name) { step(name); });
}

Result<ResolvConfFile::Restored> ResolvConfFile::restore() {
  auto record = read_if_there(taken_path_);
  if (!record) return pass_on(record);
  if (!*record) return Restored::nothing;
  auto kept = read_if_there(original_path_);
  if (!kept) return pass_on(kept);
  const auto taken = Taken::parse(**record);
  if (!taken || !*kept) {
    return fail(Errc::malformed, fmt::format("{} is damaged: write your nameservers into {} and delete it",
                                             taken_path_, path_));
  }
  auto now = read_if_there(taken->file);
  if (!now) return pass_on(now);

  Restored out = Restored::left_alone;
  const bool changed = *now ? **now != **kept || !taken->there : taken->there;
  if (!changed) {
    out = Restored::restored;      // by an earlier attempt, or never edited
  } else if (*now && is_held(**now, *taken, **kept)) {
    step("give back");
    if (taken->there) {
      auto done = write_in_place(taken->file, **kept, [this](std::string_view name) { step(name); });
      if (!done) return pass_on(done);
    } else if (unlink(taken->file.c_str()) != 0 && errno != ENOENT) {
      return tl::unexpected(write_error(errno, taken->file));
    }
    out = Restored::restored;
  }
  step("forget what was taken");
  if (unlink(taken_path_.c_str()) != 0 && errno != ENOENT) return tl::unexpected(write_error(errno, taken_path_));
  step("forget the original");
  unlink(original_path_.c_str());
  if (auto done = sync_folder(state_dir_); !done) return pass_on(done);
  return out;
}

Result<bool> ResolvConfFile::holds() const {
  auto record = read_if_there(taken_path_);
  if (!record) return pass_on(record);
  const auto taken = *record ? Taken::parse(**record) : std::nullopt;
  if (!taken) return false;
  auto now = read_if_there(path_);
  if (!now) return pass_on(now);
  return *now && **now == taken->text;
}

Result<std::string> ResolvConfFile::original() const {
  auto record = read_if_there(taken_path_);
  if (!record) return pass_on(record);
  auto now = read_if_there(path_);
  if (!now) return pass_on(now);
  const std::string content = now->value_or("");
  const auto taken = *record ? Taken::parse(**record) : std::nullopt;
  if (!taken) return content;
  auto kept = read_if_there(original_path_);
  if (!kept) return pass_on(kept);
  return *kept && is_held(content, *taken, **kept) ? **kept : content;
}

}  // namespace tg::net
