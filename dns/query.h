// A query as a server sees it, read without allocating.
#pragma once

#include "core/bytes.h"
#include "dns/message.h"

namespace tg::dns {

// ClientQuery is what a reply needs to know of its query. Its spans live as long as the query's bytes.
struct ClientQuery {
  Header header;
  Question question;
  Bytes raw_question;          // name, type and class as they came: a reply repeats every letter's case
  bool has_edns = false;
  Edns edns;                   // without the options
};

// QueryFault says why a query gets no ordinary answer, and with it which one it gets.
enum class QueryFault : std::uint8_t {
  none,
  drop,      // shorter than a header, or itself a reply: an answer could start a loop
  not_imp,   // an opcode other than QUERY
  form_err,  // anything that does not parse; not exactly one question; two OPT
  bad_vers,  // EDNS of a version above 0 (RFC 6891 section 6.1.3)
};

// read_query fills `out` as far as it could read: the header unless the fault is drop; the rest for none and bad_vers.
// Bytes behind the last record are ignored.
QueryFault read_query(Bytes message, ClientQuery& out) noexcept;

// Transport is how a query came, and its answer goes.
enum class Transport : std::uint8_t { udp, tcp };

// answer_limit is the largest answer that may be sent: over UDP what the client offers with EDNS, from 512 (RFC 6891
// section 6.2.3) to kEdnsUdpSize.
std::size_t answer_limit(const ClientQuery& q, Transport transport) noexcept;

}  // namespace tg::dns
