// DNS messages (RFC 1035 section 4, RFC 6891) as values, for everything that is not in a hurry.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/bytes.h"
#include "core/ip.h"
#include "core/result.h"
#include "dns/name.h"
#include "dns/types.h"

namespace tg::dns {

// Header is the first four bytes of a message (RFC 1035 section 4.1.1, RFC 4035 section 3.2 for ad and cd).
struct Header {
  std::uint16_t id = 0;
  bool qr = false;
  std::uint8_t opcode = kOpcodeQuery;
  bool aa = false;
  bool tc = false;
  bool rd = false;
  bool ra = false;
  bool ad = false;
  bool cd = false;
  std::uint16_t rcode = kRcodeNoError;   // 12 bits: with the upper ones of EDNS

  // flags returns the second 16 bits, with the lower four bits of rcode; set_flags takes them back.
  std::uint16_t flags() const noexcept;
  void set_flags(std::uint16_t bits) noexcept;
  bool operator==(const Header&) const = default;
};

struct Question {
  Name name;
  std::uint16_t type = 0;
  std::uint16_t klass = kClassIn;
  bool operator==(const Question&) const = default;   // the name without case (RFC 4343)
};

// Record is one resource record. `rdata` holds no compression pointers: names in it are written out, so that it may be
// moved to another message. At most 65,535 bytes.
struct Record {
  Name name;
  std::uint16_t type = 0;
  std::uint16_t klass = kClassIn;
  std::uint32_t ttl = 0;                  // at most 2^31-1: above that a message's TTL counts as 0 (RFC 2181 section 8)
  Buffer rdata;
  bool operator==(const Record&) const = default;
};

// Edns is the OPT pseudo-record (RFC 6891 section 6.1); its extended rcode is part of Header::rcode.
struct Edns {
  std::uint16_t udp_size = kEdnsUdpSize;
  std::uint8_t version = 0;
  bool dnssec_ok = false;
  Buffer options;                         // raw: code, length, data, again and again
  bool operator==(const Edns&) const = default;
};

struct Message {
  Header header;
  std::vector<Question> questions;
  std::vector<Record> answers;
  std::vector<Record> authorities;
  std::vector<Record> additionals;        // without OPT
  std::optional<Edns> edns;

  // parse reads a whole message. Bytes behind the last record are ignored. Errors: Errc::malformed: cut short, counts
  // or lengths that lie, a bad name anywhere, two OPT, an OPT whose name is not the root, A or AAAA of a wrong size.
  static Result<Message> parse(Bytes message);

  // encode writes the message in at most `max` bytes, with name compression where RFC 3597 section 4 allows it. When an
  // answer or authority record does not fit, tc is set and the rest left out; additional records are left out silently
  // (RFC 2181 section 9). The OPT is always there. An rcode above 15 without EDNS becomes SERVFAIL. Header and
  // questions are written even when they exceed `max`.
  Buffer encode(std::size_t max = kMaxMessage) const;

  bool operator==(const Message&) const = default;
};

// make_query returns a recursive query with one question, and EDNS when `edns` is given.
Message make_query(std::uint16_t id, const Question& question, std::optional<Edns> edns = Edns{});

// Records is what a connector sends back for a tunnel's QUERY: the answer and authority sections of a message.
// Wire form: u16 number of answers, u16 number of authorities, then the records as in RFC 1035 section 4.1.3, without
// compression. No bytes at all mean no records.
struct Records {
  std::vector<Record> answers;
  std::vector<Record> authorities;
  bool operator==(const Records&) const = default;
};
Buffer encode_records(const Records& records);
// parse_records errors: Errc::malformed; pointers, bytes behind the end and lying counts are refused here.
Result<Records> parse_records(Bytes wire);

// withheld says whether records of `type` never cross the tunnel: those that tell an address (A, AAAA, A6, WKS, L32,
// L64, SVCB, HTTPS), and those that mean something only between two hops or over records that we change (OPT, TSIG,
// TKEY, SIG, RRSIG). strip removes them. Both ends do it.
bool withheld(std::uint16_t type) noexcept;
void strip(Records& records);

// --- what is inside rdata; nothing when the record is of another type, or of another class than IN

std::optional<IpAddress> address_of(const Record& r);   // A, AAAA
std::optional<Name> target_of(const Record& r);         // CNAME, DNAME, NS, PTR, MX, SRV
struct Soa {
  Name mname;
  Name rname;
  std::uint32_t serial = 0;
  std::uint32_t refresh = 0;
  std::uint32_t retry = 0;
  std::uint32_t expire = 0;
  std::uint32_t minimum = 0;
};
std::optional<Soa> soa_of(const Record& r);
// negative_ttl is how long the absence that `authorities` tell of may be cached: the smaller of the SOA's TTL and its
// minimum (RFC 2308 section 5). Nothing without an SOA: such an answer is not cached.
std::optional<std::uint32_t> negative_ttl(std::span<const Record> authorities);

Record make_a(const Name& name, Ipv4 address, std::uint32_t ttl);
// make_name_record makes an NS, CNAME, DNAME or PTR record.
Record make_name_record(const Name& name, std::uint16_t type, const Name& target, std::uint32_t ttl);

}  // namespace tg::dns
