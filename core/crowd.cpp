#include "core/crowd.h"

namespace tg {

IpAddress source_of(const IpAddress& address) {
  const IpAddress plain = address.unmapped();
  return plain.is_v6() ? Cidr(plain, 64).base() : plain;
}

std::optional<std::uint64_t> Crowd::add(std::uint64_t member, const std::string& source) {
  std::optional<std::uint64_t> gone;
  if (const auto here = sources_.find(source); here != sources_.end() && here->second.size() >= of_one_) {
    gone = *here->second.begin();
  } else if (members_.size() >= total_) {
    gone = members_.begin()->first;
  }
  if (gone) remove(*gone);
  members_.emplace(member, source);
  sources_[source].insert(member);
  return gone;
}

void Crowd::remove(std::uint64_t member) {
  const auto at = members_.find(member);
  if (at == members_.end()) return;
  const auto source = sources_.find(at->second);
  source->second.erase(member);
  if (source->second.empty()) sources_.erase(source);
  members_.erase(at);
}

}  // namespace tg
