#include "cmd/controller/state_dir.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "net/files.h"

namespace tg::controller {
namespace {

Result<> make_private(const std::string& path) {
  std::error_code ec;
  const auto parent = std::filesystem::path(path).parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, ec);
  if (ec) return tl::unexpected(net::os_error(ec.value(), "create " + parent.string()));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return tl::unexpected(net::os_error(errno, "create " + path));
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return tl::unexpected(net::os_error(errno, "look at " + path));
  if (!S_ISDIR(info.st_mode)) return fail(Errc::conflict, path + " is not a directory; use another --state");
  if (info.st_uid != ::geteuid()) {
    return fail(Errc::denied, fmt::format("{} belongs to the user with id {}; run as that user, or use another --state",
                                          path, info.st_uid));
  }
  if ((info.st_mode & 077) != 0 && ::chmod(path.c_str(), 0700) != 0) {
    return tl::unexpected(net::os_error(errno, "make " + path + " private"));
  }
  return {};
}

}  // namespace

Result<StateDir> StateDir::open(const std::string& path) {
  std::string folder = path;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  if (auto made = make_private(folder); !made) return pass_on(made);
  auto lock = net::lock_state_dir(folder, "controller");
  if (!lock && lock.error().code == Errc::conflict) {
    return fail(Errc::conflict, lock.error().text + "; stop it first, or use another --state");
  }
  if (!lock) return pass_on(lock);
  return StateDir(std::move(folder), std::move(*lock));
}

}  // namespace tg::controller
