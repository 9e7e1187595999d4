#include "net/files.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "net/loop.h"

namespace tg::net {

Result<std::string> read_file(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return tl::unexpected(os_error(errno, "read " + path));
  std::string out;
  char chunk[65536];
  for (;;) {
    const ssize_t n = ::read(fd.get(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(os_error(errno, "read " + path));
    if (n == 0) return out;
    out.append(chunk, static_cast<std::size_t>(n));
  }
}

Result<std::string> read_secret(const std::string& path, std::size_t most, Instant until) {
  const bool standard = path == "-";
  const std::string name = standard ? "standard input" : path;
  if (standard && ::isatty(STDIN_FILENO) == 1) return fail(Errc::invalid_argument, "standard input is a terminal; give it a file: < FILE");
  const Fd own(standard ? -1 : ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!standard && !own) return tl::unexpected(os_error(errno, "read " + path));
  const int fd = standard ? STDIN_FILENO : own.get();
  std::string out;
  char chunk[4096];
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Loop::now()).count();
    pollfd p{fd, POLLIN, 0};
    const int ready = ::poll(&p, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000)));
    if (ready == 0) return fail(Errc::timed_out, "nothing more came from " + name + " in time");
    const ssize_t n = ready < 0 ? -1 : ::read(fd, chunk, sizeof chunk);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return tl::unexpected(os_error(errno, "read " + name));
    if (n == 0) return out;
    out.append(chunk, static_cast<std::size_t>(n));
    if (out.size() > most) return fail(Errc::exhausted, fmt::format("{} is longer than {} bytes", name, most));
  }
}

namespace {

// Returns 0, or errno.
int write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return ::fsync(fd) == 0 ? 0 : errno;
}

// A rename is on the disk when its directory is.
int sync_directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd && ::fsync(fd.get()) == 0 ? 0 : errno;
}

}  // namespace

Result<> write_file(const std::string& path, std::string_view content, mode_t mode) {
  const std::string fresh = path + ".new";
  const auto failed = [&](int error) -> Result<> {
    ::unlink(fresh.c_str());   // on a full disk, room for the next attempt
    return tl::unexpected(os_error(error, "write " + path));
  };
  const Fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd) return failed(errno);
  if (const int error = write_all(fd.get(), content); error != 0) return failed(error);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed(errno);
  if (const int error = sync_directory_of(path); error != 0) return failed(error);
  return {};
}

namespace {

tl::unexpected<Error> cannot(const char* verb, const std::string& path, int err) {
  Error e = os_error(err, fmt::format("{} the state directory {}", verb, path));
  if (e.code == Errc::denied) e.text += "; run with sudo, or choose another with --state";
  else e.text += "; --state chooses another";
  return tl::unexpected(std::move(e));
}

}  // namespace

Result<Fd> lock_state_dir(const std::string& path, const std::string& role) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    std::filesystem::create_directories(path, error);
    if (error) return cannot("make", path, error.value());
    ::chmod(path.c_str(), 0700);
  }
  const std::string file = path + "/lock";
  Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return cannot("use", path, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    const auto holder = read_file(file);
    return fail(Errc::conflict, fmt::format("another tg {} (process {}) uses {}", role,
                                            holder && !holder->empty() ? *holder : "unknown", path));
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    return tl::unexpected(os_error(errno, "write " + file));
  }
  return fd;
}

bool state_dir_used(const std::string& path) {
  struct stat at{};
  return ::stat((path + "/lock").c_str(), &at) == 0 || errno != ENOENT;
}

std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == 0) return "unnamed";
  return name;
}

}  // namespace tg::net
