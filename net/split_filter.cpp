#include "net/split_filter.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <cstring>
#include <vector>

#include "core/packet.h"
#include "core/packet_fields.h"
#include "net/netlink_message.h"
#include "net/netlink_socket.h"

namespace tg::net {
namespace {

// NF_IP_PRI_MANGLE and NF_IP_PRI_RAW.
constexpr std::uint32_t kPriorityMangle = static_cast<std::uint32_t>(-150), kPriorityRaw = static_cast<std::uint32_t>(-300);
constexpr const char* kTable = "tg";

template <class T>
Bytes bytes_of(const T& value) noexcept { return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value}; }

// NftMessage is one message to nf_tables: numbers are in network order, texts end with a zero.
class NftMessage {
 public:
  NftMessage(std::uint16_t type, std::uint16_t flags)
      : w_(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type), static_cast<std::uint16_t>(flags | NLM_F_ACK),
           nfgenmsg{NFPROTO_IPV4, NFNETLINK_V0, 0}) {}

  void text(std::uint16_t type, const char* s) { w_.bytes(type, {reinterpret_cast<const std::uint8_t*>(s), std::strlen(s) + 1}); }
  void u32(std::uint16_t type, std::uint32_t v) { w_.u32(type, htonl(v)); }
  // data is a value for a register.
  void data(std::uint16_t type, Bytes value) {
    nested(type, [&] { w_.bytes(NFTA_DATA_VALUE, value); });
  }
  template <class Fill>
  void nested(std::uint16_t type, const Fill& fill) {
    const std::size_t at = begin(type);
    fill();
    end(at);
  }
  std::size_t begin(std::uint16_t type) { return w_.begin(static_cast<std::uint16_t>(type | NLA_F_NESTED)); }
  void end(std::size_t at) { w_.end(at); }
  Buffer take() { return w_.take(); }

 private:
  NetlinkWriter w_;
};

// Rule is one rule: a list of expressions, which hand values on in registers.
class FilterRule {
 public:
  explicit FilterRule(const char* chain) : m_(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND) {
    m_.text(NFTA_RULE_TABLE, kTable);
    m_.text(NFTA_RULE_CHAIN, chain);
    list_ = m_.begin(NFTA_RULE_EXPRESSIONS);
  }

  void meta_is(nft_meta_keys key, Bytes value) {
    load_meta(key);
    compare(NFT_CMP_EQ, value);
  }
  void interface_is(nft_meta_keys key, const std::string& name) {
    meta_is(key, padded(name));
  }
  void protocol_is_tcp() { meta_is(NFT_META_L4PROTO, bytes_of(std::uint8_t{IPPROTO_TCP})); }
  // is_within_a_connection leaves out first SYNs, and RSTs that acknowledge nothing: who gave up sends one to the SYN-ACK.
  void is_within_a_connection() {
    const std::uint8_t mask = tcp_flag::syn | tcp_flag::ack | tcp_flag::rst, none = 0;
    load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, kTcpFlagsAt + 1, 1);
    expression("bitwise", [&] {
      m_.u32(NFTA_BITWISE_SREG, NFT_REG_1);
      m_.u32(NFTA_BITWISE_DREG, NFT_REG_1);
      m_.u32(NFTA_BITWISE_LEN, 1);
      m_.data(NFTA_BITWISE_MASK, bytes_of(mask));
      m_.data(NFTA_BITWISE_XOR, bytes_of(none));
    });
    compare(NFT_CMP_NEQ, bytes_of(tcp_flag::syn));
    compare(NFT_CMP_NEQ, bytes_of(tcp_flag::rst));
  }
  void set_mark(std::uint32_t mark) {
    load(NFT_REG_1, bytes_of(mark));
    expression("meta", [&] {
      m_.u32(NFTA_META_KEY, NFT_META_MARK);
      m_.u32(NFTA_META_SREG, NFT_REG_1);
    });
  }
  void is_not_from_loopback() {
    load_meta(NFT_META_IIFNAME);
    compare(NFT_CMP_NEQ, padded("lo"));
  }
  // has_transparent_socket leaves what is for a connection that a transparent listener has accepted, or is about to.
  // is_for leaves what is addressed to `to` itself.
  void is_for(Ipv4Port to) {
    load_payload(NFT_PAYLOAD_NETWORK_HEADER, kIpDestinationAt, 4);
    compare(NFT_CMP_EQ, bytes_of(htonl(to.address.value)));
    load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, kTcpDestinationAt, 2);
    compare(NFT_CMP_EQ, bytes_of(htons(to.port)));
  }
  void has_transparent_socket() {
    expression("socket", [&] {
      m_.u32(NFTA_SOCKET_KEY, NFT_SOCKET_TRANSPARENT);
      m_.u32(NFTA_SOCKET_DREG, NFT_REG_1);
    });
    compare(NFT_CMP_EQ, bytes_of(std::uint8_t{1}));
  }
  // would_leave_by leaves what is for an address that routes lead to `interface`.
  void would_leave_by(const std::string& interface) {
    expression("fib", [&] {
      m_.u32(NFTA_FIB_DREG, NFT_REG_1);
      m_.u32(NFTA_FIB_RESULT, NFT_FIB_RESULT_OIFNAME);
      m_.u32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
    });
    compare(NFT_CMP_EQ, padded(interface));
  }
  // is_not_tracked: the connection is tracked by what it was before it came to the interface, and is the same one.
  void is_not_tracked() {
    expression("notrack", [] {});
  }
  void hand_to(Ipv4Port listener) {
    const std::uint32_t address = htonl(listener.address.value);
    const std::uint16_t port = htons(listener.port);
    load(NFT_REG_1, bytes_of(address));
    load(NFT_REG_2, bytes_of(port));
    expression("tproxy", [&] {
      m_.u32(NFTA_TPROXY_FAMILY, NFPROTO_IPV4);
      m_.u32(NFTA_TPROXY_REG_ADDR, NFT_REG_1);
      m_.u32(NFTA_TPROXY_REG_PORT, NFT_REG_2);
    });
  }
  void accept() { end(NF_ACCEPT); }
  void drop() { end(NF_DROP); }

  Buffer take() {
    m_.end(list_);
    return m_.take();
  }

 private:
  void end(std::uint32_t verdict) {
    expression("immediate", [&] {
      m_.u32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
      m_.nested(NFTA_IMMEDIATE_DATA, [&] { m_.nested(NFTA_DATA_VERDICT, [&] { m_.u32(NFTA_VERDICT_CODE, verdict); }); });
    });
  }
  static std::array<std::uint8_t, IFNAMSIZ> padded(const std::string& name) {
    std::array<std::uint8_t, IFNAMSIZ> out{};
    std::copy(name.begin(), name.end(), out.begin());
    return out;
  }
  template <class Fill>
  void expression(const char* name, const Fill& fill) {
    m_.nested(NFTA_LIST_ELEM, [&] {
      m_.text(NFTA_EXPR_NAME, name);
      m_.nested(NFTA_EXPR_DATA, fill);
    });
  }
  void compare(nft_cmp_ops op, Bytes value) {
    expression("cmp", [&] {
      m_.u32(NFTA_CMP_SREG, NFT_REG_1);
      m_.u32(NFTA_CMP_OP, op);
      m_.data(NFTA_CMP_DATA, value);
    });
  }
  void load_payload(nft_payload_bases base, std::size_t at, std::uint32_t length) {
    expression("payload", [&] {
      m_.u32(NFTA_PAYLOAD_DREG, NFT_REG_1);
      m_.u32(NFTA_PAYLOAD_BASE, base);
      m_.u32(NFTA_PAYLOAD_OFFSET, static_cast<std::uint32_t>(at));
      m_.u32(NFTA_PAYLOAD_LEN, length);
    });
  }
  void load_meta(nft_meta_keys key) {
    expression("meta", [&] {
      m_.u32(NFTA_META_DREG, NFT_REG_1);
      m_.u32(NFTA_META_KEY, key);
    });
  }
  void load(nft_registers to, Bytes value) {
    expression("immediate", [&] {
      m_.u32(NFTA_IMMEDIATE_DREG, to);
      m_.data(NFTA_IMMEDIATE_DATA, value);
    });
  }

  NftMessage m_;
  std::size_t list_ = 0;
};

Buffer table() {
  NftMessage m(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
  m.text(NFTA_TABLE_NAME, kTable);
  m.u32(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
  return m.take();
}

Buffer chain(const char* name, const char* type, std::uint32_t hook, std::uint32_t priority) {
  NftMessage m(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  m.text(NFTA_CHAIN_TABLE, kTable);
  m.text(NFTA_CHAIN_NAME, name);
  m.text(NFTA_CHAIN_TYPE, type);
  m.nested(NFTA_CHAIN_HOOK, [&] {
    m.u32(NFTA_HOOK_HOOKNUM, hook);
    m.u32(NFTA_HOOK_PRIORITY, priority);
  });
  return m.take();
}

Buffer turn_round(const std::string& interface) {
  FilterRule r("out");
  r.interface_is(NFT_META_OIFNAME, interface);
  r.protocol_is_tcp();
  r.is_within_a_connection();
  r.set_mark(kSplitMark);
  return r.take();
}

Buffer to_listener(const std::string& interface, Ipv4Port listener) {
  FilterRule r("in");
  r.interface_is(NFT_META_IIFNAME, interface);
  r.protocol_is_tcp();
  r.would_leave_by(interface);
  r.is_not_tracked();
  r.hand_to(listener);
  r.set_mark(kSplitMark);
  r.accept();
  return r.take();
}

// Nobody dials the listener itself: what is handed to it keeps the address that was dialled.
Buffer not_to_listener(Ipv4Port listener) {
  FilterRule r("in");
  r.protocol_is_tcp();
  r.is_for(listener);
  r.drop();
  return r.take();
}

// What was turned round is for the accepted socket; where there is none any more, the listener's is the RST, which may have a
// captured source. It also knows its SYN cookies.
Buffer turned_round_to_listener(Ipv4Port listener) {
  FilterRule r("in");
  r.interface_is(NFT_META_IIFNAME, "lo");
  r.meta_is(NFT_META_MARK, bytes_of(kSplitMark));
  r.protocol_is_tcp();
  r.hand_to(listener);
  r.accept();
  return r.take();
}

// A container's packets come by an interface of its own. (Sent on to ours, ip_forward() would drop what has a socket here.)
Buffer forwarded_to_socket(const std::string& interface) {
  FilterRule r("in");
  r.is_not_from_loopback();
  r.protocol_is_tcp();
  r.has_transparent_socket();
  r.would_leave_by(interface);
  r.set_mark(kSplitMark);
  r.accept();
  return r.take();
}

// frame is what a batch begins and ends with (nf_tables takes nothing outside of one).
Buffer frame(std::uint16_t type) {
  return NetlinkWriter(type, 0, nfgenmsg{AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)}).take();
}

}  // namespace

Result<SplitFilter> SplitFilter::install(const std::string& interface, Ipv4Port listener) {
  if (interface.size() >= IFNAMSIZ) return fail(Errc::invalid_argument, "the name of the interface is too long");
  auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!socket) return pass_on(socket);
  std::vector<Buffer> changes{table(), chain("out", "route", NF_INET_LOCAL_OUT, kPriorityMangle), turn_round(interface),
                              chain("in", "filter", NF_INET_PRE_ROUTING, kPriorityRaw), not_to_listener(listener),
                              turned_round_to_listener(listener), to_listener(interface, listener), forwarded_to_socket(interface)};
  auto done = socket->batch(frame(NFNL_MSG_BATCH_BEGIN), std::move(changes), frame(NFNL_MSG_BATCH_END), "make the packet filter table tg");
  if (!done) {
    const bool lacks = done.error().code == Errc::not_found || done.error().code == Errc::unsupported || done.error().code == Errc::invalid_argument;
    if (!lacks) return pass_on(done);
    return fail(Errc::unsupported, "the kernel lacks something of nf_tables (tproxy, socket, fib, notrack), or is older than Linux 5.12: " +
                                       done.error().text);
  }
  return SplitFilter(std::move(*socket).take_fd());
}

}  // namespace tg::net
