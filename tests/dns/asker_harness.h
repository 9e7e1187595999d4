// Servers and a clock for tests of Resolver and Forwarder: every datagram is scripted, time moves when it is told to.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <set>

#include "dns/exchange.h"

namespace tg::dns {

using namespace std::chrono_literals;

inline Name name(std::string_view text) { return Name::parse(text).value(); }
inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
inline Endpoint server(int n) { return {Ipv4{0x0A000000u + static_cast<std::uint32_t>(n)}, 53}; }   // 10.0.0.n:53
inline std::vector<Endpoint> servers(int n) {
  std::vector<Endpoint> out;
  for (int i = 1; i <= n; ++i) out.push_back(server(i));
  return out;
}
inline Random seeded(std::uint32_t seed = 7) {
  return [engine = std::mt19937(seed)]() mutable { return static_cast<std::uint32_t>(engine()); };
}

inline Record a(std::string_view owner, std::string_view address, std::uint32_t ttl = 300) {
  return make_a(name(owner), ip(address).v4(), ttl);
}
inline Record aaaa(std::string_view owner, std::string_view address, std::uint32_t ttl = 300) {
  const IpAddress parsed = ip(address);
  return {name(owner), kTypeAaaa, kClassIn, ttl, Buffer(parsed.bytes().begin(), parsed.bytes().end())};
}
inline Record cname(std::string_view owner, std::string_view target, std::uint32_t ttl = 300) {
  return make_name_record(name(owner), kTypeCname, name(target), ttl);
}
inline Record txt(std::string_view owner, std::string_view text, std::uint32_t ttl = 300) {
  Buffer rdata{static_cast<std::uint8_t>(text.size())};
  Writer(rdata).text(text);
  return {name(owner), kTypeTxt, kClassIn, ttl, rdata};
}
inline Record soa(std::string_view zone, std::uint32_t ttl, std::uint32_t minimum) {
  Buffer rdata;
  Writer w(rdata);
  w.bytes(name("ns." + std::string(zone)).wire());
  w.bytes(name("admin." + std::string(zone)).wire());
  for (const std::uint32_t v : {1u, 7200u, 3600u, 86400u, minimum}) w.u32(v);
  return {name(zone), kTypeSoa, kClassIn, ttl, rdata};
}

// message_of is the DNS message of an action, without TCP's length.
inline Buffer message_of(const Action& sent) {
  const std::size_t skip = sent.kind == Action::Kind::tcp ? 2 : 0;
  return Buffer(sent.bytes.begin() + static_cast<std::ptrdiff_t>(skip), sent.bytes.end());
}
inline Message query_of(const Action& sent) { return Message::parse(message_of(sent)).value(); }

// reply_to answers what was sent, with the id and the question as they came.
inline Message reply_to(const Action& sent, std::vector<Record> answers = {}, std::vector<Record> authorities = {},
                        std::uint16_t rcode = kRcodeNoError) {
  Message m = query_of(sent);
  m.header.qr = m.header.ra = true;
  m.header.rcode = rcode;
  m.answers = std::move(answers);
  m.authorities = std::move(authorities);
  return m;
}
inline Message error_to(const Action& sent, std::uint16_t rcode) { return reply_to(sent, {}, {}, rcode); }

inline Buffer with_length(const Buffer& message) {
  Buffer out;
  Writer w(out);
  w.u16(static_cast<std::uint16_t>(message.size()));
  w.bytes(message);
  return out;
}

// Wires holds the sockets' end of an Asker.
struct Wires {
  explicit Wires(Asker& a) : asker(a) {}

  // next returns the next thing sent; the test fails when there is none.
  Action next() {
    pump();
    if (sent.empty()) {
      ADD_FAILURE() << "nothing was sent";
      return {};
    }
    Action action = sent.front();
    sent.pop_front();
    return action;
  }
  bool quiet() {
    pump();
    return sent.empty();
  }
  void pump() {
    while (auto action = asker.next_action()) {
      if (action->kind == Action::Kind::drop) {
        open.erase(action->transaction);
      } else {
        EXPECT_TRUE(seen.insert(action->transaction).second) << "a transaction was used twice";
        open.insert(action->transaction);
        most_open = std::max(most_open, open.size());
        sent.push_back(std::move(*action));
      }
    }
  }
  void deliver(const Action& to, const Buffer& message) {
    // An exact-size buffer on the heap: a sanitizer sees every overread.
    const Buffer bytes = to.kind == Action::Kind::tcp ? with_length(message) : message;
    const auto exact = std::make_unique<std::uint8_t[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), exact.get());
    if (to.kind == Action::Kind::tcp) asker.on_stream(to.transaction, {exact.get(), bytes.size()}, now);
    else asker.on_datagram(to.transaction, to.server, {exact.get(), bytes.size()}, now);
    pump();
  }
  void deliver(const Action& to, const Message& message) { deliver(to, message.encode()); }
  void fail(const Action& to) {
    asker.on_failed(to.transaction, now);
    pump();
  }
  // pass lets time go by, with every deadline on the way.
  void pass(Duration duration) {
    const Instant end = now + duration;
    while (asker.next_deadline() <= end) {
      EXPECT_GE(asker.next_deadline(), now);
      now = std::max(now, asker.next_deadline());
      asker.on_timeout(now);
      pump();
    }
    now = end;
  }

  Asker& asker;
  Instant now{1h};
  std::deque<Action> sent;
  std::set<Transaction> open, seen;
  std::size_t most_open = 0;
};

}  // namespace tg::dns
