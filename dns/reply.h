// The replies that the stub makes itself: small ones, written into one buffer from front to back.
#pragma once

#include "core/ip.h"
#include "dns/query.h"

namespace tg::dns {

// kOwnTtl is the TTL, in seconds, of everything that tg itself says, absences too (RFC 2308).
inline constexpr std::uint32_t kOwnTtl = 15;

// Every function below replaces `out`, copies id, rd, cd and the question with its letters, sets qr and ra, and adds an
// OPT when the query had one. None makes more than kPlainUdpMax bytes.

// reply_error: no records, neither aa nor ad. Without a question when the query's could not be read.
void reply_error(Buffer& out, const ClientQuery& q, std::uint16_t rcode);
// The others are authoritative: aa and ad are set.
void reply_address(Buffer& out, const ClientQuery& q, Ipv4 address);
void reply_pointer(Buffer& out, const ClientQuery& q, const Name& target);
// reply_any is RFC 8482 section 4.2's answer to ANY: one HINFO.
void reply_any(Buffer& out, const ClientQuery& q);
// reply_absent says NXDOMAIN, or NODATA (kRcodeNoError), with an SOA of the question's parent (RFC 2308 section 2).
void reply_absent(Buffer& out, const ClientQuery& q, std::uint16_t rcode);

// reply_records answers with `records` that the private DNS gave: aa but not ad, at most `max` bytes, tc when they
// don't fit.
void reply_records(Buffer& out, const ClientQuery& q, std::vector<Record> records, std::size_t max);

// reply_to_bytes makes reply_error for any query's bytes: for whoever forwards and gets no answer. False: drop it.
bool reply_to_bytes(Buffer& out, Bytes query, std::uint16_t rcode);

}  // namespace tg::dns
