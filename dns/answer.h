// What a reply says about a question: its CNAME chain followed, and nothing taken from it that was not asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/time.h"
#include "dns/message.h"

namespace tg::dns {

// Answer is the end of a lookup: what is known of one name and type. NOERROR without answers is NODATA (RFC 2308 section 2.2).
struct Answer {
  std::uint16_t rcode = kRcodeNoError;   // NOERROR or NXDOMAIN
  Records records;                       // answers: the CNAMEs from the name on, then its records; authorities: the SOA of
                                         // a negative answer
  bool operator==(const Answer&) const = default;
};

// How long an answer may be kept: its smallest TTL within these bounds.
inline constexpr Duration kLongestTtl = std::chrono::hours(1);
inline constexpr Duration kLongestNegativeTtl = std::chrono::seconds(60);
inline constexpr Duration kShortestTtl = std::chrono::seconds(1);
// lifetime returns nothing for a negative answer without an SOA: it must not be kept (RFC 2308 section 5).
std::optional<Duration> lifetime(const Answer& answer);

// Step is what one reply adds to a lookup.
struct Step {
  enum class End : std::uint8_t { complete, ask_target, loop };
  End end = End::complete;
  std::uint16_t rcode = kRcodeNoError;
  std::vector<Record> answers;       // owners in the letters of the question, or of the CNAME that led to them
  std::vector<Record> authorities;
  Name target;                       // ask_target: where the chain leaves the reply
};

// kLongestChain bounds the CNAMEs of one lookup, over all of its replies.
inline constexpr std::size_t kLongestChain = 16;

// follow reads `reply`'s answer to `question`. `passed`: the names that led here from earlier replies; the names of this one
// are added. Records of other names are left out: nobody asked.
Step follow(const Message& reply, const Question& question, std::vector<Name>& passed);

}  // namespace tg::dns
