#include "cmd/view_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "core/encoding.h"
#include "core/json.h"
#include "net/files.h"
#include "net/log.h"
#include "net/loop.h"

namespace tg::cmd {

std::optional<ViewFile::Kept> ViewFile::load() const {
  struct stat info {};
  const auto text = net::read_file(path_);
  if (!text || ::stat(path_.c_str(), &info) != 0) return std::nullopt;
  const auto j = parse_json(*text);
  if (!j || !j->is_object() || !j->contains("view") || !(*j)["view"].is_object()) {
    net::log(net::Level::warning, "{} is damaged and is not used", path_);
    return std::nullopt;
  }
  if (text_or(*j, "owner", "") != owner_) return std::nullopt;
  Kept out;
  out.as_of = UnixTime(std::chrono::seconds(info.st_mtim.tv_sec));
  for (const auto& [key, item] : (*j)["view"].items()) out.view.emplace(key, item);
  return out;
}

bool ViewFile::save(const View& view) {
  Json items = Json::object();
  for (const auto& [key, item] : view) items[key] = item;
  const std::string text = json_text({{"owner", owner_}, {"view", std::move(items)}});
  if (!hash_) {
    if (const auto there = net::read_file(path_)) hash_ = sha256(as_bytes(*there));
  }
  const Buffer hash = sha256(as_bytes(text));
  if (hash_ == hash && still(net::Loop::wall())) return true;
  const auto done = net::write_file(path_, text);
  if (done) hash_ = hash;
  else forget();
  if (!done && !std::exchange(failed_, true)) net::log(net::Level::error, "{}; a start would need the controller", done.error().text);
  if (done) failed_ = false;
  return done.has_value();
}

bool ViewFile::still(UnixTime now) {
  const timespec at{now.time_since_epoch().count(), 0};
  const timespec times[2] = {at, at};
  return ::utimensat(AT_FDCWD, path_.c_str(), times, 0) == 0;
}

void ViewFile::forget() {
  ::unlink(path_.c_str());
  hash_.reset();
}

}  // namespace tg::cmd
