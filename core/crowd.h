// Connections that have not shown yet who they are, in bounded number.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "core/ip.h"

namespace tg {

// source_of returns what counts as one source: the IPv4 address, or the /64 of an IPv6 address, since a host owns that much
// at least.
IpAddress source_of(const IpAddress& address);

// Crowd holds at most `total` members, and at most `of_one` of one source. One member more sends away the oldest: whoever
// only holds connections open cannot keep others out. Pure.
class Crowd {
 public:
  Crowd(std::size_t total, std::size_t of_one) : total_(total), of_one_(of_one) {}

  // add counts `member`, whose number is above all before, and returns the one that is no longer a member and has to go.
  std::optional<std::uint64_t> add(std::uint64_t member, const std::string& source);
  // remove does nothing when `member` is none.
  void remove(std::uint64_t member);
  std::size_t size() const noexcept { return members_.size(); }
  // oldest returns the one that would go next, or nothing when there is nobody.
  std::optional<std::uint64_t> oldest() const {
    return members_.empty() ? std::nullopt : std::optional(members_.begin()->first);
  }
  bool contains(std::uint64_t member) const { return members_.contains(member); }

 private:
  std::size_t total_, of_one_;
  std::map<std::uint64_t, std::string> members_;                 // the oldest first, with its source
  std::map<std::string, std::set<std::uint64_t>> sources_;
};

}  // namespace tg
