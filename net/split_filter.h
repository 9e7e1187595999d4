// The packet filter of the split capture (core/split.h), by netlink alone: a table of our own in nf_tables.
#pragma once

#include <string>

#include "core/packet.h"
#include "core/result.h"
#include "net/routes.h"

namespace tg::net {

// SplitFilter is this table, as `nft list ruleset` shows it:
//
//   table ip tg {                    # and its flag "owner": gone when this process is, and not changed by another one
//     chain out {
//       type route hook output priority mangle
//       oifname INTERFACE tcp flags & (syn | ack | rst) != {syn, rst} meta mark set kSplitMark
//     }
//     chain in {
//       type filter hook prerouting priority raw
//       ip daddr ADDRESS tcp dport PORT drop                  # of LISTENER: nobody dials it
//       iifname lo meta mark kSplitMark meta l4proto tcp tproxy to LISTENER accept
//       iifname INTERFACE meta l4proto tcp fib daddr oifname INTERFACE notrack tproxy to LISTENER meta mark set kSplitMark accept
//       iifname != lo meta l4proto tcp socket transparent 1 fib daddr oifname INTERFACE meta mark set kSplitMark accept
//     }
//   }
//
// Routes say what is captured: what they lead to the interface. An application's packets within a connection are turned round
// before they get there, and find the socket that the listener has accepted. What was written back is handed to the
// listener, the SYN, or to the accepted socket; not so what tg itself has to say to an application. Connection tracking has seen
// it before it came to the interface, perhaps under another address (a container's, behind a masquerade), and would take it for
// another connection's. The last rule is for containers that are
// not behind a masquerade. (nft writes the two values as two comparisons.)
class SplitFilter {
 public:
  // install puts it in; `listener` is transparent (set_transparent in net/socket.h). Errors: unsupported where the kernel has no
  // nf_tables, or not all of it; conflict where somebody has a table of that name; denied.
  static Result<SplitFilter> install(const std::string& interface, Ipv4Port listener);

 private:
  explicit SplitFilter(Fd owner) : owner_(std::move(owner)) {}
  Fd owner_;                  // the table lives as long as this netlink socket
};

}  // namespace tg::net
