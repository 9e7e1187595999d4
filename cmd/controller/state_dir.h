// The folder that is the controller, and the lock that makes it one controller's alone.
#pragma once

#include <string>

#include "core/result.h"
#include "net/socket.h"

namespace tg::controller {

// StateDir holds the lock on a state directory for as long as it lives. The directory has mode 0700, its files 0600.
class StateDir {
 public:
  // open makes the directory (and its parents) where it is missing. Errors: conflict when another controller holds it,
  // and the text says which; denied when it belongs to somebody else; io.
  static Result<StateDir> open(const std::string& path);

  const std::string& path() const noexcept { return path_; }
  std::string database() const { return path_ + "/controller.db"; }
  std::string events() const { return path_ + "/events.db"; }
  std::string master_key() const { return path_ + "/master.key"; }
  std::string socket() const { return admin_socket(path_); }
  static std::string admin_socket(const std::string& path) { return path + "/control.sock"; }

 private:
  StateDir(std::string path, net::Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::string path_;
  net::Fd lock_;
};

}  // namespace tg::controller
