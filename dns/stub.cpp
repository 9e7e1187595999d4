#include "dns/stub.h"

#include <optional>
#include <utility>

namespace tg::dns {
namespace {

constexpr std::string_view kDohCanary = "use-application-dns.net";   // browsers switch DoH off when it does not exist
constexpr int kMaxChain = 16;                                        // CNAMEs followed in one private answer

// Ours are the types to which the answer is the same whatever the private DNS says.
bool ours(std::uint16_t type) noexcept { return type == kTypeA || type == kTypeAny || withheld(type); }

// Types that are no question about a name's data: TKEY, TSIG, IXFR, AXFR, MAILB, MAILA.
bool is_meta(std::uint16_t type) noexcept { return type >= kTypeTkey && type <= kTypeMaila; }

// answers_to picks from `records` what answers (name, type): its records, and the CNAMEs that lead there. Nothing else
// that a connector sends along is believed.
std::vector<Record> answers_to(const Name& name, std::uint16_t type, const std::vector<Record>& records) {
  std::vector<Record> out;
  Name at = name;
  for (int i = 0; i < kMaxChain; ++i) {
    const Record* alias = nullptr;
    bool found = false;
    for (const Record& r : records) {
      if (r.klass != kClassIn || !(r.name == at)) continue;
      if (r.type == type) {
        out.push_back(r);
        found = true;
      } else if (r.type == kTypeCname && alias == nullptr) {
        alias = &r;
      }
    }
    if (found) return out;
    if (alias == nullptr) return {};
    const auto next = target_of(*alias);
    if (!next) return {};
    out.push_back(*alias);
    at = *next;
  }
  return {};
}

}  // namespace

struct Stub::Found {
  const Resource& resource;
  bool wildcard;   // the name is meant by a pattern: it may or may not exist
  bool has_name;   // the private DNS can be asked about it: it is no alias of an address
};

Stub::Stub(std::shared_ptr<const Matcher> matcher, AddressPool& pool) : matcher_(std::move(matcher)), pool_(pool) {
  TG_CHECK(matcher_ != nullptr);
}

void Stub::set_matcher(std::shared_ptr<const Matcher> matcher) {
  TG_CHECK(matcher != nullptr);
  matcher_ = std::move(matcher);
  existence_.clear();
}

// find_resource looks up name_, or nothing when it is no Resource's.
std::optional<Stub::Found> Stub::find_resource() const {
  const Resource* r = matcher_->find(std::string_view(name_));
  if (r == nullptr) return std::nullopt;
  const Address::Kind kind = r->address.kind();
  return Found{*r, kind == Address::Kind::wildcard, kind != Address::Kind::network};
}

Verdict Stub::decide(Bytes query, Instant now, Buffer& answer) {
  ClientQuery q;
  switch (read_query(query, q)) {
    case QueryFault::none: break;
    case QueryFault::drop: return Drop{};
    case QueryFault::not_imp: reply_error(answer, q, kRcodeNotImp); return Answered{};
    case QueryFault::form_err: reply_error(answer, q, kRcodeFormErr); return Answered{};
    case QueryFault::bad_vers: reply_error(answer, q, kRcodeBadVers); return Answered{};
  }
  if (answer_reverse(q, answer)) return Answered{};
  if (!q.question.name.hostname(name_)) return Forward{};
  if (name_ == kDohCanary) {
    reply_absent(answer, q, kRcodeNxDomain);
    return Answered{};
  }
  const auto found = find_resource();
  if (!found) return Forward{};
  return decide_resource(q, *found, now, answer);
}

Verdict Stub::decide_resource(const ClientQuery& q, const Found& f, Instant now, Buffer& answer) {
  const std::uint16_t type = q.question.type;
  if (q.question.klass != kClassIn && q.question.klass != kClassAny) {
    reply_error(answer, q, kRcodeRefused);
    return Answered{};
  }
  if (is_meta(type)) {
    reply_error(answer, q, kRcodeRefused);
    return Answered{};
  }
  if (type == 0 || type == kTypeOpt) {
    reply_error(answer, q, kRcodeFormErr);
    return Answered{};
  }
  const auto known = f.wildcard ? existence_.find(name_, now) : Existence::exists;
  if (known == Existence::absent) {
    reply_absent(answer, q, kRcodeNxDomain);
    return Answered{};
  }
  if (ours(type)) {
    if (!known) return Ask{{f.resource.id, name_, kTypeA}};
    answer_own(q, now, answer);
    return Answered{};
  }
  if (!f.has_name) {
    reply_absent(answer, q, kRcodeNoError);
    return Answered{};
  }
  return Ask{{f.resource.id, target_host(f.resource, name_), type}};
}

// answer_reverse answers every name at or below the reverse of the pool's range: none of them is anybody else's
// business.
bool Stub::answer_reverse(const ClientQuery& q, Buffer& answer) const {
  const auto reverse = reverse_name(q.question.name);
  if (!reverse) return false;
  const Cidr& range = pool_.range();
  if (reverse->network.prefix() < range.prefix() || !range.contains(reverse->network.base())) return false;
  if (q.question.klass != kClassIn && q.question.klass != kClassAny) {
    reply_error(answer, q, kRcodeRefused);
    return true;
  }
  if (reverse->below) {
    reply_absent(answer, q, kRcodeNxDomain);
    return true;
  }
  if (!reverse->network.single()) {   // there are names below it: it exists, and is empty (RFC 8020)
    reply_absent(answer, q, kRcodeNoError);
    return true;
  }
  const auto lent_to = pool_.name_of(reverse->network.base().v4());
  const auto target = lent_to ? Name::parse(*lent_to) : Result<Name>(fail(Errc::not_found, ""));
  if (!target) reply_absent(answer, q, kRcodeNxDomain);
  else if (q.question.type == kTypePtr) reply_pointer(answer, q, *target);
  else if (q.question.type == kTypeAny) reply_any(answer, q);
  else reply_absent(answer, q, kRcodeNoError);
  return true;
}

// answer_own answers a type that is ours() for name_, which exists or may exist.
void Stub::answer_own(const ClientQuery& q, Instant now, Buffer& answer) {
  if (q.question.type == kTypeAny) {
    reply_any(answer, q);
  } else if (q.question.type != kTypeA) {
    reply_absent(answer, q, kRcodeNoError);
  } else if (const auto address = pool_.acquire(name_, now)) {
    reply_address(answer, q, *address);
  } else {
    reply_error(answer, q, kRcodeServFail);   // every address is in use
  }
}

void Stub::complete(Bytes query, Transport transport, const tg::Query& asked, const PrivateAnswer* said, Instant now,
                    Buffer& answer) {
  ClientQuery q;
  TG_CHECK(read_query(query, q) == QueryFault::none);
  const std::uint16_t type = q.question.type;
  const auto found = q.question.name.hostname(name_) ? find_resource() : std::nullopt;
  if (!found || found->resource.id != asked.resource || asked.type != (ours(type) ? kTypeA : type) ||
      asked.name != target_host(found->resource, name_)) {
    reply_error(answer, q, kRcodeServFail);
    return;
  }
  Existence existence = Existence::unknown;
  if (said != nullptr && said->rcode == kRcodeNoError) existence = Existence::exists;
  if (said != nullptr && said->rcode == kRcodeNxDomain) existence = Existence::absent;
  if (found->wildcard) existence_.put(name_, existence, now);

  if (existence == Existence::absent) {
    // An exact name always has our address: it exists, only not with this type.
    reply_absent(answer, q, found->wildcard ? kRcodeNxDomain : kRcodeNoError);
  } else if (ours(type)) {
    answer_own(q, now, answer);
  } else if (existence == Existence::unknown) {
    reply_error(answer, q, kRcodeServFail);
  } else {
    answer_private(q, transport, asked, *said, answer);
  }
}

void Stub::answer_private(const ClientQuery& q, Transport transport, const tg::Query& asked, const PrivateAnswer& said,
                          Buffer& answer) {
  auto records = parse_records(said.records);
  const auto target = Name::parse(asked.name);
  if (!records || !target) {
    reply_error(answer, q, kRcodeServFail);
    return;
  }
  strip(*records);   // answers_to passes over them as well; a real address is worth two locks
  std::vector<Record> chosen = answers_to(*target, q.question.type, records->answers);
  for (Record& r : chosen)
    if (r.name == *target) r.name = q.question.name;   // an alias was asked; and in any case the client's own letters
  if (chosen.empty()) reply_absent(answer, q, kRcodeNoError);
  else reply_records(answer, q, std::move(chosen), answer_limit(q, transport));
}

}  // namespace tg::dns
