#include "core/address_pool.h"

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tg::address_pool_test {

using std::chrono::seconds;
const Instant kStart = Instant(std::chrono::hours(1));

Cidr net(const char* text) { return Cidr::parse(text).value(); }
std::string text_of(Ipv4 a) { return IpAddress(a).to_string(); }

TEST(AddressPool, lends_one_address_to_a_name_and_always_the_same) {
  AddressPool pool(net("100.96.0.0/12"));
  const Ipv4 nas = pool.acquire("nas.home.int", kStart).value();
  EXPECT_TRUE(pool.range().contains(nas));
  EXPECT_EQ(pool.acquire("nas.home.int", kStart + std::chrono::hours(5)).value(), nas);
  EXPECT_NE(pool.acquire("db.home.int", kStart).value(), nas);
  EXPECT_EQ(pool.find("nas.home.int"), nas);
  EXPECT_EQ(pool.name_of(nas), "nas.home.int");
  EXPECT_EQ(pool.find("web.home.int"), std::nullopt);
  EXPECT_EQ(pool.name_of(Ipv4{1}), std::nullopt);
  EXPECT_EQ(pool.size(), 2u);
  EXPECT_EQ(pool.changes(), 2u);
}

TEST(AddressPool, gives_the_same_address_when_its_memory_was_lost) {
  // Pinned figures: whoever changes the placement changes the addresses that people have written down.
  AddressPool pool(net("100.96.0.0/12"));
  const Ipv4 nas = pool.acquire("nas.home.int", kStart).value();
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(pool.acquire("host" + std::to_string(i) + ".home.int", kStart));
  AddressPool other(net("100.96.0.0/12"));
  for (int i = 1000; i > 0; --i) ASSERT_TRUE(other.acquire("x" + std::to_string(i) + ".home.int", kStart));
  EXPECT_EQ(other.acquire("nas.home.int", kStart).value(), nas);
  EXPECT_EQ(text_of(nas), "100.109.250.71");
}

TEST(AddressPool, never_lends_the_first_the_last_and_reserved_addresses) {
  AddressPool pool(net("10.0.0.0/29"), {net("10.0.0.4/31"), net("192.0.2.0/24"), net("::/0"), net("10.0.0.1/32")});
  EXPECT_EQ(pool.capacity(), 3u);   // .2 .3 .6
  std::set<std::string> seen;
  for (const char* name : {"a", "b", "c"}) seen.insert(text_of(pool.acquire(name, kStart).value()));
  EXPECT_EQ(seen, (std::set<std::string>{"10.0.0.2", "10.0.0.3", "10.0.0.6"}));
  EXPECT_EQ(pool.acquire("d", kStart).error().code, Errc::exhausted);
  EXPECT_EQ(AddressPool(net("10.0.0.0/30"), {net("0.0.0.0/0")}).capacity(), 0u);
  EXPECT_EQ(AddressPool(net("10.0.0.0/8")).capacity(), (1u << 24) - 2);
  AddressPool nothing(net("10.0.0.0/30"), {net("10.0.0.0/24")});
  EXPECT_EQ(nothing.acquire("a", kStart).error().code, Errc::exhausted);
}

TEST(AddressPool, takes_the_least_recently_used_when_exhausted) {
  AddressPool pool(net("10.0.0.0/29"));   // six addresses
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(pool.acquire("n" + std::to_string(i), kStart + seconds(i)));
  const Ipv4 zero = *pool.find("n0"), one = *pool.find("n1");
  ASSERT_TRUE(pool.acquire("n0", kStart + seconds(10)));
  EXPECT_EQ(pool.acquire("new", kStart + seconds(62)).value(), one);
  EXPECT_EQ(pool.find("n1"), std::nullopt);
  EXPECT_EQ(pool.name_of(one), "new");
  EXPECT_EQ(pool.find("n0"), zero);
}

TEST(AddressPool, never_reuses_an_address_while_an_answer_may_hold_it) {
  AddressPool pool(net("10.0.0.0/30"));   // two addresses
  const Ipv4 a = pool.acquire("a", kStart).value();
  ASSERT_TRUE(pool.acquire("b", kStart + seconds(1)));
  const std::string before = pool.save();
  const auto full = pool.acquire("c", kStart + AddressPool::kHold - Duration(1));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::exhausted);
  EXPECT_EQ(pool.save(), before);
  EXPECT_EQ(pool.acquire("c", kStart + AddressPool::kHold).value(), a);
}

TEST(AddressPool, never_reuses_an_address_while_a_flow_is_live) {
  AddressPool pool(net("10.0.0.0/30"));
  const Ipv4 a = pool.acquire("a", kStart).value();
  const Ipv4 b = pool.acquire("b", kStart).value();
  pool.pin(a);
  pool.pin(a);
  pool.pin(b);
  Instant now = kStart + std::chrono::hours(100);
  EXPECT_FALSE(pool.acquire("c", now));
  pool.unpin(a);
  EXPECT_FALSE(pool.acquire("c", now));
  pool.unpin(a);   // the last flow; but whoever had it may still know the address
  EXPECT_FALSE(pool.acquire("c", now));
  now += AddressPool::kHold;
  EXPECT_EQ(pool.acquire("c", now).value(), a);
  EXPECT_EQ(pool.name_of(b), "b");
}

TEST(AddressPool, counts_pins_only_of_what_is_lent) {
  AddressPool pool(net("10.0.0.0/30"));
  pool.pin(Ipv4{0x0A000001});
  pool.unpin(Ipv4{0x0A000001});
  pool.unpin(Ipv4{1});
  ASSERT_TRUE(pool.acquire("a", kStart));
  ASSERT_TRUE(pool.acquire("b", kStart));
  pool.unpin(*pool.find("a"));
  EXPECT_TRUE(pool.acquire("c", kStart + AddressPool::kHold));
}

TEST(AddressPool, refuses_names_that_are_none) {
  AddressPool pool(net("10.0.0.0/24"));
  EXPECT_FALSE(pool.acquire("", kStart));
  EXPECT_FALSE(pool.acquire(std::string(254, 'a'), kStart));
  EXPECT_TRUE(pool.acquire(std::string(253, 'a'), kStart));
  EXPECT_EQ(pool.find(std::string(253, 'a')), pool.acquire(std::string(253, 'a'), kStart).value());
}

TEST(AddressPool, comes_back_from_its_text_in_the_same_order) {
  AddressPool pool(net("10.0.0.0/29"));
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(pool.acquire("n" + std::to_string(i), kStart));
  ASSERT_TRUE(pool.acquire("n2", kStart));
  pool.pin(*pool.find("n0"));
  AddressPool back(net("10.0.0.0/29"));
  ASSERT_TRUE(back.load(pool.save(), kStart));
  EXPECT_EQ(back.save(), pool.save());
  for (int i = 0; i < 6; ++i) EXPECT_EQ(back.find("n" + std::to_string(i)), pool.find("n" + std::to_string(i)));
  // What was loaded goes, once it is not held, in the order in which it was used: n1 first, n0 (a flow was live) last.
  const std::vector<const char*> order{"n1", "n3", "n4", "n5", "n2", "n0"};
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Ipv4 was = *back.find(order[i]);
    EXPECT_EQ(back.acquire("m" + std::to_string(i), kStart + AddressPool::kHold).value(), was) << i;
  }
}

TEST(AddressPool, never_reuses_after_a_restart_what_may_have_been_answered_just_before_it) {
  AddressPool pool(net("10.0.0.0/30"));   // two addresses
  ASSERT_TRUE(pool.acquire("a", kStart));
  ASSERT_TRUE(pool.acquire("b", kStart));
  const Instant restart = kStart + seconds(1);
  AddressPool back(net("10.0.0.0/30"));
  ASSERT_TRUE(back.load(pool.save(), restart));
  EXPECT_EQ(back.acquire("c", restart).error().code, Errc::exhausted);
  EXPECT_EQ(back.acquire("c", restart + AddressPool::kHold - Duration(1)).error().code, Errc::exhausted);
  EXPECT_EQ(back.find("a"), pool.find("a"));
  EXPECT_EQ(back.acquire("c", restart + AddressPool::kHold).value(), *pool.find("a"));
}

TEST(AddressPool, keeps_what_it_has_when_it_loads_later) {
  AddressPool pool(net("10.0.0.0/29"));
  const Ipv4 a = pool.acquire("a", kStart).value();
  const Ipv4 other{a.value == 0x0A000001 ? 0x0A000002u : 0x0A000001u};
  ASSERT_TRUE(
      pool.load("# tg addresses 1\n" + text_of(a) + " b\n" + text_of(other) + " a\n" + text_of(other) + "0 far\n",
                kStart));
  EXPECT_EQ(pool.find("a"), a);
  EXPECT_EQ(pool.find("b"), std::nullopt);
  EXPECT_EQ(pool.size(), 1u);
}

TEST(AddressPool, drops_what_does_not_fit_another_range) {
  AddressPool pool(net("10.0.0.0/24"), {net("10.0.0.7/32")});
  ASSERT_TRUE(pool.load("# tg addresses 1\n10.0.0.5 a\n10.0.1.5 b\n10.0.0.0 c\n10.0.0.255 d\n10.0.0.7 e\n", kStart));
  EXPECT_EQ(pool.size(), 1u);
  EXPECT_EQ(pool.find("a"), Ipv4{0x0A000005});
}

TEST(AddressPool, refuses_a_text_that_is_not_its_own) {
  const std::string good = "# tg addresses 1\n10.0.0.5 a\n";
  AddressPool pool(net("10.0.0.0/24"));
  const auto says = [&](const std::string& text) {
    const auto r = pool.load(text, kStart);
    EXPECT_FALSE(r) << text;
    EXPECT_EQ(r ? Errc::io : r.error().code, Errc::malformed);
    EXPECT_EQ(pool.size(), 0u);
    return r ? "" : r.error().text.substr(0, r.error().text.find(':'));
  };
  EXPECT_EQ(says(""), "line 1");
  EXPECT_EQ(says("10.0.0.5 a\n"), "line 1");
  EXPECT_EQ(says(good + "10.0.0.6 b"), "line 3");       // cut short
  EXPECT_EQ(says(good + "\n"), "line 3");
  EXPECT_EQ(says(good + "10.0.0.6\n"), "line 3");
  EXPECT_EQ(says(good + "10.0.0.06 b\n"), "line 3");
  EXPECT_EQ(says(good + "::1 b\n"), "line 3");
  EXPECT_EQ(says(good + "10.0.0.6 B\n"), "line 3");     // not canonical
  EXPECT_EQ(says(good + "10.0.0.6 b \n"), "line 3");
  EXPECT_EQ(says(good + "10.0.0.6 b\r\n"), "line 3");
  EXPECT_EQ(says(good + "10.0.0.6 \x1b[0m\n"), "line 3");
  EXPECT_EQ(says(good + "10.0.0.6 a\n"), "line 3");     // twice
  EXPECT_EQ(says(good + "10.0.0.5 b\n"), "line 3");
  EXPECT_TRUE(pool.load(good, kStart));
}

TEST(AddressPool, lends_nothing_of_the_networks_that_are_kept_out) {
  AddressPool pool(net("10.0.0.0/29"));   // .1 to .6
  pool.keep_out({net("10.0.0.0/30"), net("10.0.0.6/32"), net("10.0.0.2/31"), net("192.0.2.0/24"), net("::/0")});
  EXPECT_EQ(pool.capacity(), 2u);
  std::set<std::string> seen;
  for (const char* name : {"a", "b"}) seen.insert(text_of(pool.acquire(name, kStart).value()));
  EXPECT_EQ(seen, (std::set<std::string>{"10.0.0.4", "10.0.0.5"}));
  EXPECT_EQ(pool.acquire("c", kStart).error().code, Errc::exhausted);
  pool.keep_out({net("10.0.0.6/32")});
  EXPECT_EQ(pool.capacity(), 5u);
  for (const char* name : {"c", "d", "e"}) seen.insert(text_of(pool.acquire(name, kStart).value()));
  EXPECT_EQ(seen, (std::set<std::string>{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}));
  EXPECT_EQ(pool.acquire("f", kStart).error().code, Errc::exhausted);
  pool.keep_out({net("0.0.0.0/0")});
  EXPECT_EQ(pool.capacity(), 0u);
  EXPECT_EQ(pool.acquire("g", kStart + AddressPool::kHold).error().code, Errc::exhausted) << "nobody gives way";
}

TEST(AddressPool, leaves_a_name_its_address_when_a_network_comes_over_it) {
  AddressPool pool(net("10.0.0.0/30"));
  const Ipv4 a = pool.acquire("a", kStart).value();
  pool.pin(a);
  const Ipv4 b = pool.acquire("b", kStart).value();
  pool.keep_out({Cidr(IpAddress(a), 32)});
  EXPECT_EQ(pool.name_of(a), "a");
  const Instant later = kStart + AddressPool::kHold;
  EXPECT_EQ(pool.acquire("a", later).value(), a);
  pool.unpin(a);
  pool.pin(a);
  pool.unpin(a);
  EXPECT_EQ(pool.acquire("c", later).value(), b) << "only b may give way";
  EXPECT_FALSE(pool.acquire("d", later + AddressPool::kHold - Duration(1)));
  EXPECT_EQ(pool.name_of(a), "a");
  AddressPool back(net("10.0.0.0/30"));
  ASSERT_TRUE(back.load(pool.save(), later));
  EXPECT_EQ(back.find("a"), a);
  EXPECT_EQ(back.find("c"), b);
  // The network goes: a is one of many again, and held as if it had just been used.
  pool.keep_out({});
  EXPECT_EQ(pool.acquire("d", later + 2 * AddressPool::kHold).value(), b);
  EXPECT_EQ(pool.acquire("e", later + 2 * AddressPool::kHold).value(), a);
}

TEST(AddressPool, says_what_a_flow_or_a_cache_may_hold) {
  AddressPool pool(net("10.0.0.0/30"));
  EXPECT_FALSE(pool.held(Ipv4{0x0A000001}, kStart));
  const Ipv4 a = pool.acquire("a", kStart).value();
  EXPECT_TRUE(pool.held(a, kStart + AddressPool::kHold - Duration(1)));
  EXPECT_FALSE(pool.held(a, kStart + AddressPool::kHold));
  pool.pin(a);
  EXPECT_TRUE(pool.held(a, kStart + std::chrono::hours(9)));
}

// What is appended as it is lent, and then killed: see load_lent.
TEST(AddressPool, forgets_nothing_that_was_written_as_it_was_lent) {
  AddressPool pool(net("10.0.0.0/29"));
  ASSERT_TRUE(pool.acquire("n0", kStart));
  const std::string saved = pool.save();
  std::string lent;
  pool.on_lent([&](Ipv4 address, std::string_view name) {
    EXPECT_EQ(pool.name_of(address), name);
    lent += AddressPool::line(address, name);
  });
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(pool.acquire("n" + std::to_string(i), kStart));
  EXPECT_FALSE(pool.acquire("n6", kStart));
  EXPECT_EQ(std::count(lent.begin(), lent.end(), '\n'), 5) << "not of n0, which had its address, nor of n6";
  const Instant later = kStart + AddressPool::kHold;
  ASSERT_TRUE(pool.acquire("n6", later));   // takes the address of n0
  ASSERT_TRUE(pool.acquire("n0", later));   // and that the one of n1
  for (const char* torn : {"", "10.0.0.1", "10.0.0.1 torn", "\n", "x y\n10.0.0.1 n9\n"}) {
    AddressPool back(net("10.0.0.0/29"));
    back.load_lent(lent + torn, later);
    ASSERT_TRUE(back.load(saved, later));
    EXPECT_EQ(back.size(), 6u) << torn;
    for (const char* name : {"n0", "n2", "n3", "n4", "n5", "n6"}) EXPECT_EQ(back.find(name), pool.find(name)) << name;
    EXPECT_EQ(back.acquire("n7", later).error().code, Errc::exhausted) << "all are held";
  }
}

// The pool beside a model of what it promises.
RC_GTEST_PROP(AddressPool, keeps_its_promises_whatever_happens, ()) {
  AddressPool pool(net("10.0.0.0/28"), {net("10.0.0.8/31")});   // twelve addresses
  struct Lent { std::string name; Instant held; int pins = 0; std::uint64_t used = 0; };
  std::map<Ipv4, Lent> model;
  Instant now = kStart, told = Instant::min();   // told: the latest time that the pool heard of
  std::uint64_t clock = 0, changes = 0;
  for (int step = 0; step < 400; ++step) {
    const int what = *rc::gen::inRange(0, 10);
    if (what < 6) {
      const std::string name = "n" + std::to_string(*rc::gen::inRange(0, 20));
      const bool known = pool.find(name).has_value();
      const bool room = model.size() < pool.capacity();
      const auto got = pool.acquire(name, now);
      told = now;
      if (!got) {
        RC_ASSERT(!known);
        RC_ASSERT(!room);
        for (const auto& [address, lent] : model) RC_ASSERT((lent.pins > 0 || lent.held > now));
        continue;
      }
      if (known) {
        RC_ASSERT(model.at(*got).name == name);
      } else if (room) {
        RC_ASSERT(!model.contains(*got));
      } else {
        const Lent& was = model.at(*got);
        RC_ASSERT(was.pins == 0);
        RC_ASSERT(was.held <= now);
        for (const auto& [address, lent] : model) RC_ASSERT((lent.pins > 0 || lent.used >= was.used));
      }
      if (!known) ++changes;
      const int pins = known ? model.at(*got).pins : 0;
      model[*got] = {name, now + AddressPool::kHold, pins, ++clock};
    } else if (what < 9 && !model.empty()) {
      auto at = model.begin();
      std::advance(at, *rc::gen::inRange<std::size_t>(0, model.size()));
      if (what == 6) {
        pool.pin(at->first);
        ++at->second.pins;
      } else {
        pool.unpin(at->first);
        if (at->second.pins > 0 && --at->second.pins == 0) {
          at->second.used = ++clock;
          at->second.held = std::max(at->second.held, told + AddressPool::kHold);
        }
      }
    } else {
      now += seconds(*rc::gen::inRange(0, 40));
    }
    RC_ASSERT(pool.size() == model.size());
    RC_ASSERT(pool.changes() == changes);
    for (const auto& [address, lent] : model) {
      RC_ASSERT(pool.name_of(address).value() == lent.name);
      RC_ASSERT(pool.find(lent.name).value() == address);
    }
  }
  AddressPool back(pool.range(), {net("10.0.0.8/31")});
  RC_ASSERT(back.load(pool.save(), kStart).has_value());
  for (const auto& [address, lent] : model) RC_ASSERT(back.name_of(address) == lent.name);
}

TEST(AddressPool, survives_a_flood_of_a_million_names) {
  AddressPool pool(net("100.96.0.0/12"));
  const Ipv4 nas = pool.acquire("nas.home.int", kStart).value();
  pool.pin(nas);
  const std::size_t capacity = pool.capacity();
  ASSERT_EQ(capacity, (1u << 20) - 2);
  std::set<std::uint32_t> some;
  for (std::size_t i = 1; i < capacity; ++i) {
    const auto a = pool.acquire("flood" + std::to_string(i) + ".corp.internal", kStart);
    ASSERT_TRUE(a);
    if (i % 1024 == 0) some.insert(a->value);
  }
  EXPECT_EQ(some.size(), capacity / 1024);
  EXPECT_EQ(pool.size(), capacity);
  for (int i = 0; i < 100'000; ++i)
    EXPECT_FALSE(pool.acquire("over" + std::to_string(i), kStart));   // at once, though all are held
  EXPECT_EQ(pool.name_of(nas), "nas.home.int");
  for (std::size_t i = 0; i < 100'000; ++i)
    ASSERT_TRUE(pool.acquire("later" + std::to_string(i), kStart + AddressPool::kHold));
  EXPECT_EQ(pool.name_of(nas), "nas.home.int");
  EXPECT_EQ(pool.size(), capacity);
  AddressPool back(net("100.96.0.0/12"));
  ASSERT_TRUE(back.load(pool.save(), kStart));
  EXPECT_EQ(back.size(), capacity);
}

}  // namespace tg::address_pool_test
