// The text of /etc/resolv.conf (resolv.conf(5)): read, and written anew with tg's resolvers ahead of the system's.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip.h"

namespace tg::dns {

// kOwnResolvers are the addresses on which the client answers DNS: 100.95.0.251 to .254.
inline constexpr std::array<Ipv4, 4> kOwnResolvers{Ipv4{0x645F00FB}, Ipv4{0x645F00FC}, Ipv4{0x645F00FD}, Ipv4{0x645F00FE}};

// ResolvConf is what a resolver takes from the file: as glibc reads it (resolv/res_init.c), with two differences. Every
// nameserver counts, not only the first three, and what follows a '#' or ';' at the start of a word is a comment.
struct ResolvConf {
  // Nameserver keeps the word as written, since `address` cannot hold a zone ("fe80::1%eth0"). `address` is missing where
  // the word is no address, or needs its zone to mean anything (link-local); a needless zone is dropped.
  struct Nameserver {
    std::string text;
    std::optional<IpAddress> address;
    bool operator==(const Nameserver&) const = default;
  };

  std::vector<Nameserver> nameservers;      // in order
  std::vector<std::string> search;          // of the last "search" or "domain" line
  std::vector<std::string> options;         // words of every "options" line, in order, numbers included ("ndots:2")
  std::vector<std::string> sortlist;        // of the last "sortlist" line
  bool operator==(const ResolvConf&) const = default;

  // parse never fails: lines that nobody knows are left out, as every libc does.
  static ResolvConf parse(std::string_view text);

  // servers returns the addresses that can be asked, in order, each once, without kOwnResolvers (a loop). The list is empty
  // when there is none; libc would then ask 127.0.0.1.
  std::vector<IpAddress> servers() const;

  // The numbers among the options, held within glibc's own bounds; its defaults where they are not given.
  int ndots() const;         // 1, at most 15
  int timeout() const;       // 5 seconds, at most 30
  int attempts() const;      // 2, at most 5

  // to_string returns text that parse() reads back to this.
  std::string to_string() const;
};

// replacement returns the file that tg writes: a first line that says whose it is, `own`, and behind them what `previous` had:
// nameservers (but for those in `own`), search list and options. A `previous` that is itself a replacement gives the same
// text again.
std::string replacement(const ResolvConf& previous, std::span<const Ipv4> own = kOwnResolvers);

// is_ours says whether replacement() made this text: by its first line alone, so that a file edited since is still known.
bool is_ours(std::string_view text) noexcept;

}  // namespace tg::dns
