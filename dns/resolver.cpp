#include "dns/resolver.h"

#include <algorithm>

namespace tg::dns {
namespace {

using End = Resolver::Outcome::End;

// is_question: types that a server may be asked for. Between 128 and 255 are those that mean something else (RFC 6895
// section 3.1); of them only ANY is a question about a name.
bool is_question(std::uint16_t type) {
  return type != 0 && type != kTypeOpt && (type < 128 || type > 255 || type == kTypeAny);
}

End end_of(Exchanges::End end) {
  switch (end) {
    case Exchanges::End::silent: return End::timed_out;
    case Exchanges::End::unreachable: return End::unreachable;
    default: return End::failed;
  }
}

}  // namespace

Resolver::Resolver(Config config)
    : config_(std::move(config)), exchanges_(config_.servers), cache_(config_.cache_entries) {}

Resolver::RequestId Resolver::resolve(const Name& name, Instant now, const std::string& asker) {
  return start({{name, kTypeA}, true}, now, asker);
}

Resolver::RequestId Resolver::lookup(const Name& name, std::uint16_t type, Instant now, const std::string& asker) {
  if (!is_question(type)) {
    outcomes_.push_back({next_id_, End::answered, kRcodeNotImp, {}, {}});
    return next_id_++;
  }
  return start({{name, type}, false}, now, asker);
}

Resolver::RequestId Resolver::start(const Key& key, Instant now, const std::string& asker) {
  const RequestId id = next_id_++;
  requests_.emplace(id, key);
  if (const auto known = lookups_.find(key); known != lookups_.end()) {
    known->second.waiting.push_back(id);
    return id;
  }
  Lookup& l = lookups_[key];
  l.key = key;
  l.waiting.push_back(id);
  l.deadline = now + config_.total;
  l.asker = asker;
  begin(l, key.question.type, now);
  collect(now);
  return id;
}

void Resolver::cancel(RequestId id) {
  std::erase_if(outcomes_, [&](const Outcome& o) { return o.id == id; });
  const auto it = requests_.find(id);
  if (it == requests_.end()) return;
  Lookup& l = lookups_.at(it->second);
  std::erase(l.waiting, id);
  requests_.erase(it);
  if (!l.waiting.empty()) return;
  exchanges_.cancel(l.exchange);
  asked_.erase(l.exchange);
  lookups_.erase(Key(l.key));
}

void Resolver::set_servers(std::vector<Endpoint> servers, Instant now) {
  if (servers == config_.servers.servers) return;
  config_.servers.servers = servers;
  exchanges_.set_servers(std::move(servers));
  cache_.clear();   // so that no lookup is settled, and gone, while they are gone through
  for (auto& [key, l] : lookups_) {
    exchanges_.cancel(l.exchange);
    asked_.erase(l.exchange);
    l.deadline = now + config_.total;
    begin(l, key.question.type, now);
  }
  collect(now);
}

void Resolver::begin(Lookup& l, std::uint16_t type, Instant now) {
  l.type = type;
  l.passed.clear();
  l.chain.clear();
  ask(l, l.key.question.name, now);
}

// ask goes on with `name`: from the cache, or by asking a server.
void Resolver::ask(Lookup& l, const Name& name, Instant now) {
  if (auto known = cache_.find({name, l.type}, now)) {
    auto& answers = known->records.answers;
    answers.insert(answers.begin(), l.chain.begin(), l.chain.end());
    if (!l.chain.empty()) cache_.store({l.key.question.name, l.type}, *known, now);
    return settle(l, *known, now);
  }
  if (!may_ask(l)) return finish(l, {0, End::exhausted, kRcodeServFail, {}, {}});
  l.exchange = exchanges_.ask({name, l.type}, now, l.deadline);
  asked_.emplace(l.exchange, Asked{l.key, name});
}

bool Resolver::may_ask(Lookup& l) {
  if (l.asker.empty() || l.place.count() > 0) return true;
  auto place = config_.lookups->take(l.asker);
  if (place) l.place = std::move(*place);
  return place.has_value();
}

void Resolver::take(Lookup& l, const Message& reply, const Name& asked, Instant now) {
  Step step = follow(reply, {asked, l.type}, l.passed);
  l.chain.insert(l.chain.end(), step.answers.begin(), step.answers.end());
  if (step.end == Step::End::loop) return finish(l, {0, End::failed, kRcodeServFail, {}, {}});
  if (step.end == Step::End::ask_target) return ask(l, step.target, now);
  const Answer answer{step.rcode, {std::move(l.chain), std::move(step.authorities)}};
  cache_.store({l.key.question.name, l.type}, answer, now);
  settle(l, answer, now);
}

void Resolver::settle(Lookup& l, const Answer& answer, Instant now) {
  Outcome outcome{0, End::answered, answer.rcode, {}, {}};
  if (!l.key.host) {
    outcome.records = answer.records;
    return finish(l, outcome);
  }
  for (const Record& r : answer.records.answers) {
    if (const auto address = address_of(r)) outcome.addresses.push_back(*address);
  }
  const bool exists = answer.rcode == kRcodeNoError;
  if (exists && outcome.addresses.empty() && l.type == kTypeA) return begin(l, kTypeAaaa, now);
  finish(l, outcome);
}

// finish ends the lookup; `l` is gone afterwards.
void Resolver::finish(Lookup& l, const Outcome& outcome) {
  for (const RequestId id : l.waiting) {
    outcomes_.push_back(outcome);
    outcomes_.back().id = id;
    requests_.erase(id);
  }
  lookups_.erase(Key(l.key));
}

void Resolver::collect(Instant now) {
  while (const auto reply = exchanges_.next_reply()) {
    const auto it = asked_.find(reply->id);
    const Asked asked = it->second;
    asked_.erase(it);
    Lookup& l = lookups_.at(asked.key);
    if (reply->end == Exchanges::End::answered) take(l, reply->message, asked.name, now);
    else finish(l, {0, end_of(reply->end), kRcodeServFail, {}, {}});
  }
}

std::optional<Resolver::Outcome> Resolver::next_outcome() {
  if (outcomes_.empty()) return std::nullopt;
  Outcome outcome = std::move(outcomes_.front());
  outcomes_.pop_front();
  return outcome;
}

void Resolver::on_datagram(Transaction t, const Endpoint& from, Bytes datagram, Instant now) {
  exchanges_.on_datagram(t, from, datagram, now);
  collect(now);
}
void Resolver::on_stream(Transaction t, Bytes bytes, Instant now) {
  exchanges_.on_stream(t, bytes, now);
  collect(now);
}
void Resolver::on_failed(Transaction t, Instant now) {
  exchanges_.on_failed(t, now);
  collect(now);
}
void Resolver::on_timeout(Instant now) {
  exchanges_.on_timeout(now);
  collect(now);
}

}  // namespace tg::dns
