#include "dns/exchange.h"

#include <algorithm>

#include "core/result.h"

namespace tg::dns {
namespace {

constexpr std::size_t kQuestionTail = 4;   // type and class, behind the name

std::uint16_t u16_at(Bytes b, std::size_t i) { return static_cast<std::uint16_t>(b[i] << 8 | b[i + 1]); }

bool is_letter(std::uint8_t c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
std::uint8_t lower_byte(std::uint8_t c) { return c >= 'A' && c <= 'Z' ? static_cast<std::uint8_t>(c | 0x20) : c; }

// mix_case gives each letter of the name at the front of `question` a random case (draft-vixie-dnsext-dns0x20). Length
// bytes are below 64 and so never letters.
void mix_case(MutBytes name, const Random& random) {
  std::uint32_t bits = 0;
  int left = 0;
  for (std::uint8_t& c : name) {
    if (!is_letter(c)) continue;
    if (left == 0) {
      bits = random();
      left = 32;
    }
    if ((bits & 1) != 0) c ^= 0x20;
    bits >>= 1;
    --left;
  }
}

enum class Same { no, but_for_case, yes };

Same same_question(Bytes a, Bytes b) {
  if (std::equal(a.begin(), a.end(), b.begin(), b.end())) return Same::yes;
  if (a.size() != b.size() || a.size() <= kQuestionTail) return Same::no;
  const std::size_t name = a.size() - kQuestionTail;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && (i >= name || lower_byte(a[i]) != lower_byte(b[i]))) return Same::no;
  }
  return Same::but_for_case;
}

Buffer with_length(Bytes message) {
  Buffer out;
  out.reserve(message.size() + 2);
  Writer w(out);
  w.u16(static_cast<std::uint16_t>(message.size()));
  w.bytes(message);
  return out;
}

// is_lame: a server that would not look for us but sends us elsewhere.
bool is_lame(Bytes reply) {
  Header header;
  header.set_flags(u16_at(reply, 2));
  return header.rcode == kRcodeNoError && !header.aa && !header.ra && u16_at(reply, 6) == 0 && u16_at(reply, 8) > 0;
}

}  // namespace

std::optional<std::size_t> question_size(Bytes query) {
  if (query.size() < kHeaderSize || query.size() > kMaxMessage || (query[2] & 0x80) != 0) return std::nullopt;
  const std::uint16_t count = u16_at(query, 4);
  if (count == 0) return 0;
  if (count > 1) return std::nullopt;
  Reader in(query);
  in.skip(kHeaderSize);
  if (!Name::read(in, Name::Pointers::refused)) return std::nullopt;
  in.skip(kQuestionTail);
  if (!in.ok()) return std::nullopt;
  return in.offset() - kHeaderSize;
}

Exchanges::Exchanges(Config config) : config_(std::move(config)), servers_(config_.servers) { TG_CHECK(config_.random); }

Exchanges::Id Exchanges::ask(const Question& question, Instant now, Instant deadline) {
  Exchange e;
  e.question = question;
  return start(std::move(e), now, deadline);
}

Exchanges::Id Exchanges::ask_verbatim(Buffer query, bool tcp, Instant now, Instant deadline) {
  TG_CHECK(question_size(query));
  Exchange e;
  e.query = std::move(query);
  e.tcp = tcp;
  return start(std::move(e), now, deadline);
}

Exchanges::Id Exchanges::start(Exchange exchange, Instant now, Instant deadline) {
  const Id id = next_id_++;
  Exchange& e = exchanges_.emplace(id, std::move(exchange)).first->second;
  e.id = id;
  e.deadline = deadline;
  begin(e, now);
  return id;
}

// begin asks the first server: `e` has no attempt. It may be gone afterwards.
void Exchanges::begin(Exchange& e, Instant now) {
  e.wait = config_.retry_after;
  e.next = 0;
  e.attempts = 0;
  e.anew = e.answered_badly = false;
  e.bad.clear();
  e.bad_server.reset();
  e.servers.clear();
  for (const Endpoint& endpoint : servers_.order(now)) e.servers.push_back({endpoint});
  if (e.servers.empty()) return finish(e, {e.id, End::unreachable, {}, {}});
  next_server(e, std::nullopt, now);
}

void Exchanges::set_servers(std::vector<Endpoint> servers) {
  if (servers == config_.servers) return;
  config_.servers = servers;
  servers_.set(std::move(servers));
  for (auto& [id, e] : exchanges_) {
    while (!e.open.empty()) drop(e, e.open.back().transaction);
    e.anew = true;
    e.retry_at = Instant{};   // at once
    schedule(e);
  }
}

void Exchanges::cancel(Id id) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return;
  finish(it->second, {});
  replies_.pop_back();
}

// compose makes the message of one attempt, and notes in it how it was made.
Buffer Exchanges::compose(const Exchange& e, Attempt& a) {
  const auto id = static_cast<std::uint16_t>(config_.random());
  if (!e.question) {
    Buffer out = e.query;
    Writer(out).put_u16(0, id);
    return out;
  }
  const Endpoint& server = e.servers[a.server].endpoint;
  a.edns = !servers_.without_edns(server);
  a.mixed = config_.mix_case && !a.tcp && !servers_.changes_case(server);
  Buffer out = make_query(id, *e.question, a.edns ? std::optional<Edns>(Edns{}) : std::nullopt).encode();
  if (a.mixed) mix_case(MutBytes(out).subspan(kHeaderSize, e.question->name.size()), config_.random);
  return out;
}

// send asks one server, now. After kMaxAttempts nothing more is sent, and what is open is waited for.
void Exchanges::send(Exchange& e, std::size_t server, bool tcp, Instant now) {
  e.retry_at = now + e.wait;
  if (e.attempts < kMaxAttempts) {
    ++e.attempts;
    if (e.open.size() == kMaxOpen) drop(e, e.open.front().transaction);
    Attempt a;
    a.transaction = next_transaction_++;
    a.server = server;
    a.tcp = tcp;
    a.sent = compose(e, a);
    actions_.push_back({tcp ? Action::Kind::tcp : Action::Kind::udp, a.transaction, e.servers[server].endpoint,
                        tcp ? with_length(a.sent) : a.sent});
    transactions_.emplace(a.transaction, e.id);
    e.open.push_back(std::move(a));
  }
  schedule(e);
}

// next_server asks the next one in turn that may still know. `failures`: only one that is not being asked already and whose
// socket failed at most so often; when there is none, the retry timer has to bring us back here.
void Exchanges::next_server(Exchange& e, std::optional<int> failures, Instant now) {
  for (std::size_t i = 0; i < e.servers.size(); ++i) {
    const std::size_t s = (e.next + i) % e.servers.size();
    if (e.servers[s].out) continue;
    const bool asked = std::any_of(e.open.begin(), e.open.end(), [&](const Attempt& a) { return a.server == s; });
    if (failures && (asked || e.servers[s].failures > *failures)) continue;
    e.next = s + 1;
    send(e, s, e.tcp, now);
    return;
  }
  const bool none_left = std::all_of(e.servers.begin(), e.servers.end(), [](const Server& s) { return s.out; });
  if (none_left) give_up(e);
}

Exchanges::Verdict Exchanges::judge(const Exchange& e, const Attempt& a, Bytes reply, Message& parsed) const {
  if (reply.size() < kHeaderSize || u16_at(reply, 0) != u16_at(a.sent, 0)) return Verdict::forged;
  Header header;
  header.set_flags(u16_at(reply, 2));
  Header asked;
  asked.set_flags(u16_at(a.sent, 2));
  if (!header.qr || header.opcode != asked.opcode) return Verdict::forged;

  const std::size_t size = *question_size(a.sent);
  const std::uint16_t count = u16_at(reply, 4);
  const bool cannot_read = header.rcode == kRcodeFormErr || header.rcode == kRcodeNotImp;
  if (count != u16_at(a.sent, 4) || reply.size() < kHeaderSize + size) {
    // A server that could not read the query may leave its question out.
    if (count != 0 || !cannot_read) return Verdict::forged;
  } else {
    const Same same = same_question(Bytes(a.sent).subspan(kHeaderSize, size), reply.subspan(kHeaderSize, size));
    if (same == Same::no) return Verdict::forged;
    if (same == Same::but_for_case && a.mixed) return Verdict::other_case;
  }

  if (!e.question) {
    const bool cannot =
        header.rcode == kRcodeServFail || header.rcode == kRcodeRefused || header.rcode == kRcodeNotImp;
    return cannot ? Verdict::bad : Verdict::believed;
  }
  if (cannot_read && a.edns) return Verdict::without_edns;
  if (header.rcode != kRcodeNoError && header.rcode != kRcodeNxDomain) return Verdict::bad;
  if (header.tc) return a.tcp ? Verdict::bad : Verdict::cut;
  if (is_lame(reply)) return Verdict::bad;
  auto message = Message::parse(reply);
  if (!message) return Verdict::bad;
  parsed = std::move(*message);
  return Verdict::believed;
}

void Exchanges::take(Exchange& e, Attempt& a, Bytes reply, Instant now) {
  Message parsed;
  const Verdict verdict = judge(e, a, reply, parsed);
  if (verdict == Verdict::forged) return take_forged(e, a, now);
  const std::size_t server = a.server;
  const Endpoint& endpoint = e.servers[server].endpoint;
  if (verdict == Verdict::other_case) {
    if (std::exchange(a.asked_again, true)) return take_forged(e, a, now);
    servers_.set_changes_case(endpoint);
    return send(e, server, false, now);
  }
  servers_.answered(endpoint);
  switch (verdict) {
    case Verdict::believed:
      return finish(e, {e.id, End::answered, std::move(parsed), e.question ? Buffer{} : Buffer(reply.begin(), reply.end()),
                        endpoint});
    case Verdict::cut:
      drop(e, a.transaction);
      return send(e, server, true, now);
    case Verdict::without_edns: {
      const bool tcp = a.tcp;
      servers_.set_without_edns(endpoint);
      drop(e, a.transaction);
      return send(e, server, tcp, now);
    }
    default:
      if (!e.answered_badly) {
        e.bad.assign(reply.begin(), reply.end());
        e.bad_server = endpoint;
      }
      e.answered_badly = true;
      e.servers[server].out = true;
      drop(e, a.transaction);
      return next_server(e, 0, now);
  }
}

void Exchanges::take_forged(Exchange& e, Attempt& a, Instant now) {
  if (!a.tcp && ++a.forged < kForged) return;
  const std::size_t server = a.server;
  const bool tcp = a.tcp;
  if (!e.question && !tcp) return finish(e, {e.id, End::flooded, {}, {}});
  drop(e, a.transaction);
  if (!tcp) return send(e, server, true, now);
  e.answered_badly = true;
  e.servers[server].out = true;   // nobody forges inside a connection: this server talks nonsense
  next_server(e, 0, now);
}

void Exchanges::on_datagram(Transaction t, const Endpoint& from, Bytes datagram, Instant now) {
  Exchange* e = find(t);
  if (!e) return;
  Attempt& a = attempt(*e, t);
  if (a.tcp || from != e->servers[a.server].endpoint) return;
  take(*e, a, datagram, now);
}

void Exchanges::on_stream(Transaction t, Bytes bytes, Instant now) {
  Exchange* e = find(t);
  if (!e) return;
  Attempt& a = attempt(*e, t);
  if (!a.tcp) return;
  a.received.insert(a.received.end(), bytes.begin(), bytes.end());
  Reader in(a.received);
  const Bytes message = in.bytes(in.u16());
  if (!in.ok()) return;
  const Buffer whole(message.begin(), message.end());   // the attempt may end in take()
  take(*e, a, whole, now);
}

void Exchanges::on_failed(Transaction t, Instant now) {
  Exchange* e = find(t);
  if (!e) return;
  const Attempt& a = attempt(*e, t);
  Server& server = e->servers[a.server];
  // Asked over TCP because of what came over UDP: there is nothing left to try with this server.
  const bool second_way = a.tcp && !e->tcp;
  const int before = server.failures++;
  if (before > 0 || second_way) server.out = true;
  drop(*e, t);
  next_server(*e, before, now);
}

void Exchanges::on_timeout(Instant now) {
  while (!due_.empty() && due_.begin()->first <= now) {
    Exchange& e = exchanges_.at(due_.begin()->second);
    if (e.anew) {
      if (e.deadline > now) begin(e, now);
      else finish(e, {e.id, End::silent, {}, {}});
      continue;
    }
    if (!e.open.empty()) servers_.silent(e.servers[e.open.back().server].endpoint, now);
    if (e.deadline <= now) {
      give_up(e);
      continue;
    }
    e.wait = std::min(2 * e.wait, std::max(kLongestWait, config_.retry_after));
    next_server(e, std::nullopt, now);
  }
}

std::optional<Action> Exchanges::next_action() {
  if (actions_.empty()) return std::nullopt;
  Action action = std::move(actions_.front());
  actions_.pop_front();
  return action;
}

std::optional<Exchanges::Reply> Exchanges::next_reply() {
  if (replies_.empty()) return std::nullopt;
  Reply reply = std::move(replies_.front());
  replies_.pop_front();
  return reply;
}

void Exchanges::drop(Exchange& e, Transaction t) {
  actions_.push_back({Action::Kind::drop, t, {}, {}});
  transactions_.erase(t);
  std::erase_if(e.open, [&](const Attempt& a) { return a.transaction == t; });
}

void Exchanges::give_up(Exchange& e) {
  End end = End::silent;
  if (e.answered_badly) end = End::failed;
  else if (std::all_of(e.servers.begin(), e.servers.end(), [](const Server& s) { return s.failures > 0; }))
    end = End::unreachable;
  finish(e, {e.id, end, {}, std::move(e.bad), e.bad_server});
}

// finish ends the exchange; `e` is gone afterwards.
void Exchanges::finish(Exchange& e, Reply reply) {
  const Id id = e.id;
  while (!e.open.empty()) drop(e, e.open.back().transaction);
  due_.erase({e.due, id});
  replies_.push_back(std::move(reply));
  exchanges_.erase(id);
}

void Exchanges::schedule(Exchange& e) {
  due_.erase({e.due, e.id});
  e.due = std::min(e.retry_at, e.deadline);
  due_.insert({e.due, e.id});
}

Exchanges::Exchange* Exchanges::find(Transaction t) {
  const auto it = transactions_.find(t);
  return it == transactions_.end() ? nullptr : &exchanges_.at(it->second);
}

Exchanges::Attempt& Exchanges::attempt(Exchange& e, Transaction t) {
  const auto it = std::find_if(e.open.begin(), e.open.end(), [&](const Attempt& a) { return a.transaction == t; });
  TG_CHECK(it != e.open.end());
  return *it;
}

}  // namespace tg::dns
