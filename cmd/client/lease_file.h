// The addresses of names, kept on the disk.
#pragma once

#include <cstdint>
#include <string>

#include "core/address_pool.h"
#include "net/socket.h"

namespace tg::client {

// LeaseFile keeps an AddressPool in two files of `folder`: `addresses` holds the whole mapping as save() found it, and
// is synced; `addresses.lent` has a line for each address lent since, written before the address is answered, and not
// synced: it outlives this process, and whoever may hold an address (a flow, a cache) does not outlive the machine.
class LeaseFile {
 public:
  // `pool` must outlive this. Loads what is there; what is wrong with it is logged.
  LeaseFile(std::string folder, AddressPool& pool);
  ~LeaseFile();
  LeaseFile(const LeaseFile&) = delete;
  LeaseFile& operator=(const LeaseFile&) = delete;

  // save writes the whole mapping when it has changed.
  void save();

 private:
  void write_all();
  void append(Ipv4 address, std::string_view name);
  void failed(const std::string& what);

  std::string path_;
  AddressPool& pool_;
  net::Fd fresh_;            // `addresses.lent`, opened by the first line
  bool written_ = false;     // it may hold lines
  bool failed_ = false;      // and this was logged
  std::uint64_t saved_ = 0;
};

}  // namespace tg::client
