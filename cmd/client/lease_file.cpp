#include "cmd/client/lease_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/files.h"
#include "net/log.h"
#include "net/loop.h"

namespace tg::client {

LeaseFile::LeaseFile(std::string folder, AddressPool& pool) : path_(std::move(folder) + "/addresses"), pool_(pool) {
  if (const auto lent = net::read_file(path_ + ".lent")) {
    written_ = !lent->empty();
    pool_.load_lent(*lent, net::Loop::now());
  }
  if (const auto text = net::read_file(path_)) {
    if (auto loaded = pool_.load(*text, net::Loop::now()); !loaded) {
      net::log(net::Level::warning, "{}: {}; addresses are lent anew", path_, loaded.error().text);
    }
  }
  saved_ = pool_.changes();
  if (written_) write_all();   // so that no line follows one that a full disk cut short
  pool_.on_lent([this](Ipv4 address, std::string_view name) { append(address, name); });
}

LeaseFile::~LeaseFile() { pool_.on_lent({}); }

void LeaseFile::append(Ipv4 address, std::string_view name) {
  if (!fresh_) fresh_ = net::Fd(::open((path_ + ".lent").c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  const std::string line = AddressPool::line(address, name);
  const ssize_t n = fresh_ ? ::write(fresh_.get(), line.data(), line.size()) : -1;
  if (n < 0) failed(std::strerror(errno));
  else if (static_cast<std::size_t>(n) < line.size()) failed("the disk is full");
  written_ = true;
}

// The name is answered nevertheless: the next whole save() will have it.
void LeaseFile::failed(const std::string& what) {
  if (std::exchange(failed_, true)) return;
  net::log(net::Level::error, "{}.lent: {}; addresses lent now may be forgotten if the client is killed", path_, what);
}

void LeaseFile::save() {
  if (pool_.changes() != saved_) write_all();
}

void LeaseFile::write_all() {
  if (auto saved = net::write_file(path_, pool_.save()); !saved) {
    return net::log(net::Level::error, "{}", saved.error().text);
  }
  saved_ = pool_.changes();
  failed_ = false;
  if (!written_) return;
  if (fresh_ ? ::ftruncate(fresh_.get(), 0) == 0 : ::truncate((path_ + ".lent").c_str(), 0) == 0) written_ = false;
}

}  // namespace tg::client
