#include "core/rendezvous.h"

#include <algorithm>
#include <tuple>

#include "core/bytes.h"
#include "core/encoding.h"

namespace tg {

std::string rendezvous_weight(std::string_view device, std::string_view connector) {
  return hex(sha256(as_bytes(std::string(device) + std::string(connector))));
}

std::vector<std::string> choose_connectors(std::string_view device, std::vector<Candidate> candidates, std::size_t most) {
  const auto rank = [&](const Candidate& c) { return std::tuple(!c.usable, rendezvous_weight(device, c.id)); };
  std::sort(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  std::vector<std::string> out;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (i < most || candidates[i].busy) out.push_back(candidates[i].id);
  }
  return out;
}

}  // namespace tg
