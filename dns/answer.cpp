#include "dns/answer.h"

#include <algorithm>

namespace tg::dns {

std::optional<Duration> lifetime(const Answer& answer) {
  const auto& [answers, authorities] = answer.records;
  Duration least = kLongestTtl;
  for (const Record& r : answers) least = std::min<Duration>(least, std::chrono::seconds(r.ttl));
  const bool negative =
      answer.rcode != kRcodeNoError || answers.empty() || !authorities.empty();   // a CNAME to nothing is negative, too
  if (negative) {
    const auto ttl = negative_ttl(authorities);
    if (!ttl) return std::nullopt;
    least = std::min({least, kLongestNegativeTtl, Duration(std::chrono::seconds(*ttl))});
  }
  return std::max(least, kShortestTtl);
}

Step follow(const Message& reply, const Question& question, std::vector<Name>& passed) {
  Step step;
  step.rcode = reply.header.rcode;
  Name at = question.name;
  const auto add = [&](const Record& r) {
    step.answers.push_back(r);
    step.answers.back().name = at;
  };
  passed.push_back(at);

  bool found = false;
  while (!found) {
    const Record* alias = nullptr;
    for (const Record& r : reply.answers) {
      if (r.klass != question.klass || r.name != at) continue;
      if (r.type == question.type || question.type == kTypeAny) {
        add(r);
        found = true;
      } else if (r.type == kTypeCname && !alias) {
        alias = &r;
      }
    }
    if (found || !alias) break;
    const auto target = target_of(*alias);
    add(*alias);
    if (!target || passed.size() > kLongestChain || std::find(passed.begin(), passed.end(), *target) != passed.end()) {
      step.end = Step::End::loop;
      return step;
    }
    at = *target;
    passed.push_back(at);
  }
  if (found) {
    step.rcode = kRcodeNoError;
    return step;
  }

  for (const Record& r : reply.authorities) {
    if (r.type == kTypeSoa && r.klass == question.klass && at.is_subdomain_of(r.name)) step.authorities.push_back(r);
  }
  // NXDOMAIN and NODATA speak of the chain's last name (RFC 6604, RFC 2308 section 2.2). A server that neither has it nor
  // says that it is not there has to be asked about it by name.
  if (step.rcode == kRcodeNoError && step.authorities.empty() && at != question.name) {
    step.end = Step::End::ask_target;
    step.target = at;
    passed.pop_back();   // the next step adds it
  }
  return step;
}

}  // namespace tg::dns
