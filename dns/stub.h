// What tg answers to the device's DNS queries, and what it leaves to others. The whole table, with the test for each
// row, is in dns/DNS.md.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "core/address_pool.h"
#include "core/bytes.h"
#include "core/matcher.h"
#include "core/time.h"
#include "core/tunnel.h"
#include "dns/existence_cache.h"
#include "dns/query.h"
#include "dns/reply.h"

namespace tg::dns {

// A Verdict is what is to be done with a query.
struct Answered {};                  // send the buffer that was filled; a refusal is an answer too
struct Forward {};                   // not ours: send the bytes as they are to the system's previous resolvers
struct Ask { tg::Query query; };     // ask a connector, at most Stub::kPatience long, then call complete
struct Drop {};                      // say nothing
using Verdict = std::variant<Drop, Answered, Forward, Ask>;

// PrivateAnswer is a connector's answer to an Ask: TunnelHandler::on_answer.
struct PrivateAnswer {
  std::uint8_t rcode = 0;
  Bytes records;                     // see parse_records
};

// Stub decides, for each query of the device, and writes the answers that need nobody else.
// Nothing of a query is kept between decide and complete: whoever calls holds its bytes.
// No I/O, no clock. Not thread-safe. `pool` must outlive it.
class Stub {
 public:
  // kPatience is how long a connector may take over an Ask. Afterwards nobody can say.
  static constexpr Duration kPatience = std::chrono::seconds(1);

  // `matcher` must not be null.
  Stub(std::shared_ptr<const Matcher> matcher, AddressPool& pool);

  // set_matcher replaces the Resources, and forgets which names exist.
  void set_matcher(std::shared_ptr<const Matcher> matcher);

  // decide reads `query` (over TCP without its length). `answer` is replaced when the Verdict is Answered, and then
  // fits every transport. Cost: no allocation but for growing `answer`, and a name's first address.
  Verdict decide(Bytes query, Instant now, Buffer& answer);

  // complete writes the answer to a query for which decide said Ask. `said`: null when nobody could say (no connector,
  // an error, kPatience over). The answer is cut to what `transport` allows. If the Resource is gone in the meantime it
  // is SERVFAIL. `asked` must be what decide gave for these bytes.
  void complete(Bytes query, Transport transport, const tg::Query& asked, const PrivateAnswer* said, Instant now,
                Buffer& answer);

 private:
  struct Found;   // the Resource that a question belongs to, and how

  std::optional<Found> find_resource() const;
  Verdict decide_resource(const ClientQuery& q, const Found& f, Instant now, Buffer& answer);
  bool answer_reverse(const ClientQuery& q, Buffer& answer) const;
  void answer_own(const ClientQuery& q, Instant now, Buffer& answer);
  static void answer_private(const ClientQuery& q, Transport transport, const tg::Query& asked,
                             const PrivateAnswer& said, Buffer& answer);

  std::shared_ptr<const Matcher> matcher_;
  AddressPool& pool_;
  ExistenceCache existence_;
  std::string name_;   // the canonical name in question; a member so that its memory is reused
};

}  // namespace tg::dns
