#include "core/event_queue.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

namespace tg::event_queue_test {

using Segment = EventQueue::Segment;
constexpr EventQueue::Limits kSmall{1000, 100, 300};

// Disk is the files of a queue's segments. A driver of the queue in four lines, as far as the disk takes bytes.
struct Disk {
  std::map<Segment, std::string> files;
  void write(EventQueue& q, std::size_t room = SIZE_MAX) {
    for (const Segment& s : q.removed()) files.erase(s);
    for (const auto& u : q.unwritten()) {
      const std::size_t n = std::min(room, u.bytes.size());
      std::string& file = files[u.segment];
      file.resize(u.at);
      file += u.bytes.substr(0, n);
      q.written(u.segment, n);
      room -= n;
      if (room == 0) return;
    }
  }
  void load(EventQueue& q) const {
    while (const auto s = q.wanted()) {
      const auto file = files.find(*s);
      q.loaded(*s, file == files.end() ? std::nullopt : std::optional(file->second));
    }
  }
  // restart is a process that begins with what is there.
  EventQueue restart(std::uint64_t spool, EventQueue::Limits limits = kSmall) const {
    EventQueue q(spool, limits);
    for (const auto& [s, text] : files) q.found(s, text.size(), whole_lines(text));
    return q;
  }
};

using Lines = std::vector<std::string>;
Lines lines_of(const EventQueue::Batch& b) { return {b.lines.begin(), b.lines.end()}; }

TEST(EventQueue, sends_what_is_added_in_order_and_forgets_what_is_kept) {
  EventQueue q(7, kSmall);
  EXPECT_FALSE(q.take(10, 100));
  for (const char* line : {"a", "b", "c"}) q.add(line);
  const auto first = q.take(2, 100);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->spool, 7u);
  EXPECT_EQ(first->first, 1u);
  EXPECT_EQ(lines_of(*first), (Lines{"a", "b"}));
  EXPECT_FALSE(q.take(2, 100)) << "one batch at a time";
  q.kept(8, 2);
  EXPECT_FALSE(q.take(2, 100)) << "that was another spool";
  q.kept(7, 2);
  const auto second = q.take(2, 100);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->first, 3u);
  EXPECT_EQ(lines_of(*second), (Lines{"c"}));
  q.kept(7, 3);
  EXPECT_EQ(q.waiting(), 0u);
  EXPECT_EQ(q.bytes(), 0u);
  EXPECT_TRUE(q.unwritten().empty());
  q.add("d");
  EXPECT_EQ(q.take(2, 100)->first, 4u) << "no number is used twice";
}

TEST(EventQueue, sends_again_what_nobody_answered_for) {
  EventQueue q(7, kSmall);
  q.add("a");
  q.add("b");
  ASSERT_TRUE(q.take(1, 100));
  q.not_kept();
  const auto again = q.take(10, 100);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->first, 1u);
  EXPECT_EQ(lines_of(*again), (Lines{"a", "b"}));
}

TEST(EventQueue, keeps_a_batch_to_its_bytes_but_for_one_line) {
  EventQueue q(7, kSmall);
  for (const char* line : {"0123456789", "0123456789", "0"}) q.add(line);
  EXPECT_EQ(q.take(10, 5)->lines.size(), 1u);
  q.kept(7, 1);
  EXPECT_EQ(q.take(10, 12)->lines.size(), 2u);
}

TEST(EventQueue, is_on_the_disk_in_segments_and_a_process_goes_on_where_another_was_killed) {
  Disk disk;
  EventQueue q(7, kSmall);
  for (int i = 1; i <= 30; ++i) q.add("line " + std::to_string(i));
  disk.write(q);
  EXPECT_GT(disk.files.size(), 1u);
  EXPECT_EQ(q.unwritten_bytes(), 0u);
  q.add("never written");

  EventQueue next = disk.restart(8);
  next.add("mine");
  disk.write(next);
  EXPECT_EQ(next.waiting(), 31u);
  Lines all;
  std::set<std::uint64_t> spools;
  for (std::uint64_t expected = 1; next.waiting() > 0; ++expected) {
    disk.load(next);
    const auto batch = next.take(1, 100);
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->first, batch->spool == 7 ? expected : 1);
    spools.insert(batch->spool);
    all.push_back(std::string(batch->lines[0]));
    next.kept(batch->spool, batch->first);
    disk.write(next);
  }
  EXPECT_EQ(all.size(), 31u);
  EXPECT_EQ(all.front(), "line 1");
  EXPECT_EQ(all[29], "line 30");
  EXPECT_EQ(all.back(), "mine");
  EXPECT_EQ(spools, (std::set<std::uint64_t>{7, 8}));
  EXPECT_TRUE(disk.files.empty());
}

TEST(EventQueue, leaves_out_a_last_line_that_was_torn) {
  Disk disk;
  disk.files[{1, 7, 1}] = "a\nb\nthe power was lo";
  disk.files[{2, 7, 3}] = "nothing who";
  EventQueue q = disk.restart(8);
  EXPECT_EQ(q.waiting(), 2u);
  disk.load(q);
  EXPECT_EQ(lines_of(*q.take(10, 100)), (Lines{"a", "b"}));
  q.kept(7, 2);
  disk.write(q);
  EXPECT_TRUE(disk.files.empty());
}

TEST(EventQueue, takes_the_word_of_a_controller_that_has_more) {
  Disk disk;
  disk.files[{1, 7, 1}] = "a\nb\nc\n";
  EventQueue q = disk.restart(8);
  disk.load(q);
  ASSERT_TRUE(q.take(1, 100));
  q.kept(7, 2);
  EXPECT_EQ(lines_of(*q.take(10, 100)), (Lines{"c"}));
  q.kept(7, 500);
  EXPECT_EQ(q.waiting(), 0u);
}

TEST(EventQueue, gives_up_the_oldest_segment_where_there_is_no_room_and_says_how_many_that_were) {
  EventQueue q(7, kSmall);
  for (int i = 0; i < 200; ++i) q.add("0123456789");   // 9 of them are a segment
  EXPECT_LE(q.bytes(), 1000u);
  const std::uint64_t lost = q.lost();
  EXPECT_GT(lost, 100u);
  EXPECT_EQ(q.lost(), 0u);
  EXPECT_EQ(q.waiting() + lost, 200u);
  EXPECT_EQ(q.take(1, 100)->first, lost + 1);
}

TEST(EventQueue, does_not_count_as_lost_what_the_controller_has) {
  EventQueue q(7, {100, 50, 100});
  for (int i = 0; i < 4; ++i) q.add("0123456789");
  ASSERT_TRUE(q.take(3, 100));
  q.kept(7, 3);
  for (int i = 0; i < 8; ++i) q.add("0123456789");
  EXPECT_EQ(q.lost(), 1u);
}

TEST(EventQueue, keeps_little_in_memory_where_the_disk_takes_nothing) {
  EventQueue q(7, {10'000, 100, 300});
  for (int i = 0; i < 200; ++i) q.add("0123456789");
  EXPECT_LE(q.unwritten_bytes(), 300u);
  EXPECT_EQ(q.waiting() + q.lost(), 200u);
  Disk disk;
  disk.write(q);
  EXPECT_EQ(q.unwritten_bytes(), 0u);
  for (int i = 0; i < 20; ++i) {
    q.add("0123456789");
    disk.write(q, 7);   // and a part of a line at a time
  }
  disk.write(q);
  for (const auto& [segment, text] : disk.files) EXPECT_EQ(text.size() % 11, 0u);
}

TEST(EventQueue, goes_on_without_a_segment_that_can_not_be_read) {
  Disk disk;
  disk.files[{1, 7, 1}] = "a\nb\n";
  disk.files[{2, 7, 3}] = "c\n";
  EventQueue q = disk.restart(8);
  disk.files.erase({1, 7, 1});
  disk.load(q);
  EXPECT_EQ(q.lost(), 2u);
  const auto batch = q.take(10, 100);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->first, 3u);
}

TEST(EventQueue, names_files_so_that_they_sort_and_knows_its_own) {
  const Segment a{9, 0xffff, 1}, b{10, 0, 1}, c{10, 0, 17};
  EXPECT_LT(segment_name(a), segment_name(b));
  EXPECT_LT(segment_name(b), segment_name(c));
  for (const Segment& s : {a, b, c}) EXPECT_EQ(segment_named(segment_name(s)), s);
  for (const char* name : {"", "view.json", "0000000000000009-000000000000ffff-0000000000000001.json",
                           "9-ffff-1.jsonl", "0000000000000009-000000000000FFFF-0000000000000001.jsonl", "..", "-", "--.jsonl"}) {
    EXPECT_FALSE(segment_named(name)) << name;
  }
}

// Every event reaches the controller once or is told to be lost, whatever is killed, torn away or full on the way. (Given up
// while on its way it may be both.)
RC_GTEST_PROP(EventQueue, brings_each_event_once_or_says_that_it_is_lost, ()) {
  Disk disk;
  std::uint64_t spool = 1, made = 0, lost = 0;
  std::map<std::uint64_t, std::uint64_t> through;      // the controller's, by spool
  std::set<std::uint64_t> arrived;
  std::set<std::uint64_t> unsafe;                      // in memory alone
  std::uint64_t gone = 0;                              // with a process
  const EventQueue::Limits limits{400, 60, 150};
  auto q = std::make_unique<EventQueue>(spool, limits);
  std::optional<EventQueue::Batch> way;
  std::vector<std::uint64_t> cargo;
  const auto receive = [&] {
    std::uint64_t& high = through[way->spool];
    for (std::size_t i = 0; i < cargo.size(); ++i) {
      if (way->first + i > high) RC_ASSERT(arrived.insert(cargo[i]).second);
    }
    high = std::max(high, way->first + cargo.size() - 1);
  };
  const int steps = *rc::gen::inRange(1, 300);
  for (int i = 0; i < steps; ++i) {
    switch (*rc::gen::inRange(0, 8)) {
      case 0: case 1: case 2:
        q->add(std::to_string(++made));
        unsafe.insert(made);
        break;
      case 3: {
        const bool full = *rc::gen::inRange(0, 3) == 0;
        disk.write(*q, full ? *rc::gen::inRange<std::size_t>(0, 10) : SIZE_MAX);
        if (q->unwritten_bytes() == 0) unsafe.clear();
        break;
      }
      case 4: {
        disk.load(*q);
        const auto batch = q->take(3, 100);
        if (!batch) break;
        way = EventQueue::Batch{batch->spool, batch->first, {}};
        cargo.clear();
        for (const auto line : batch->lines) cargo.push_back(std::stoull(std::string(line)));
        if (*rc::gen::inRange(0, 2) == 0) receive();
        break;
      }
      case 5:
        if (!way) break;
        receive();
        q->kept(way->spool, way->first + cargo.size() - 1);
        way.reset();
        break;
      case 6:
        q->not_kept();
        way.reset();
        break;
      default:
        if (*rc::gen::inRange(0, 6) != 0) break;
        lost += q->lost();
        gone += unsafe.size();       // some of them may have been written or sent: at most so many are gone
        unsafe.clear();
        way.reset();
        q = std::make_unique<EventQueue>(disk.restart(++spool, limits));
    }
    RC_ASSERT(q->bytes() <= limits.total + 60u);
  }
  while (q->waiting() > 0) {
    disk.write(*q);
    disk.load(*q);
    q->not_kept();
    way = q->take(10, 100);
    if (!way) break;
    cargo.clear();
    for (const auto line : way->lines) cargo.push_back(std::stoull(std::string(line)));
    receive();
    q->kept(way->spool, way->first + cargo.size() - 1);
  }
  lost += q->lost();
  RC_ASSERT(q->waiting() == 0u);
  RC_ASSERT(arrived.size() <= made);
  RC_ASSERT(arrived.size() + lost + gone >= made);
}

}  // namespace tg::event_queue_test
