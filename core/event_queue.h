// Which events a connector keeps for the controller, sends next, and gives up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tg {

// EventQueue keeps lines, numbered from 1 in each spool, until the controller has them. They lie in segments, each a file of its
// own; the newest one is written to. A process has a spool of its own: what one before left behind is sent under that one's
// name and numbers, so that no number ever means two events. Whoever drives this does the files: it writes what unwritten()
// says, loads what wanted() says, and removes what removed() says. Pure.
class EventQueue {
 public:
  struct Limits {
    std::size_t total = 64u << 20;      // bytes of all segments; one more, and the oldest goes
    std::size_t segment = 1u << 20;     // and of one
    std::size_t unwritten = 4u << 20;   // of those that the disk did not take
  };
  // Segment is one by its name: `order` says which is older.
  struct Segment {
    std::uint64_t order = 0;
    std::uint64_t spool = 0;
    std::uint64_t first = 0;            // number of its first line
    auto operator<=>(const Segment&) const = default;
  };
  // Batch is lines of one spool, numbered from `first`. They live until the next call that is not const.
  struct Batch {
    std::uint64_t spool = 0;
    std::uint64_t first = 0;
    std::vector<std::string_view> lines;
  };
  // Unwritten is what is to be written into a segment's file, from byte `at` on. It lives likewise.
  struct Unwritten {
    Segment segment;
    std::size_t at = 0;
    std::string_view bytes;
  };

  // `spool`: a random number that no process before had.
  EventQueue(std::uint64_t spool, Limits limits) : spool_(spool), limits_(limits) {}

  // found takes over a segment that an earlier process left, the oldest first, before the first add(). `lines` is how many
  // whole ones it has.
  void found(const Segment& segment, std::size_t bytes, std::size_t lines);

  // add keeps one line (without its end). `tells`: how many lost ones it tells of, which are lost again with it.
  void add(std::string_view line, std::uint64_t tells = 0);

  std::vector<Unwritten> unwritten() const;
  void written(const Segment& segment, std::size_t bytes);
  // removed returns the segments whose files are of no use any more, once.
  std::vector<Segment> removed();

  // wanted is the segment that has to be loaded before anything more is sent; nothing when none has. A text that is not what
  // found() said is taken as it is; without one its lines are lost.
  std::optional<Segment> wanted() const;
  void loaded(const Segment& segment, std::optional<std::string> text);

  // take returns what to send next, and nothing while a batch is on its way or there is nothing. At least one line, and then no
  // more than `lines` and `bytes`.
  std::optional<Batch> take(std::size_t lines, std::size_t bytes);
  // kept says that the controller has all of a spool up to a number, which may be more than was sent: an earlier process may have
  // sent that. An answer to nothing that is on its way changes nothing.
  void kept(std::uint64_t spool, std::uint64_t through);
  // not_kept says that no answer will come: what is on its way is sent again.
  void not_kept() noexcept { on_its_way_ = false; }

  // lose counts lines that never came to be added.
  void lose(std::uint64_t lines) noexcept { lost_ += lines; }
  // lost returns how many lines were given up since it was asked last.
  std::uint64_t lost() noexcept;
  std::size_t waiting() const noexcept { return waiting_; }          // lines that the controller does not have
  std::size_t bytes() const noexcept { return bytes_; }              // of all segments
  std::size_t unwritten_bytes() const noexcept { return unwritten_; }

 private:
  struct Part {
    Segment name;
    std::size_t bytes = 0;
    std::size_t written = 0;
    std::size_t lines = 0;
    std::uint64_t tells = 0;
    std::optional<std::string> text;    // always of one that is not wholly written
  };
  Part& part_for(std::size_t bytes);
  void drop(std::deque<Part>::iterator part);
  void give_up(std::deque<Part>::iterator part);
  void keep_to_limits();
  void pass(std::size_t lines);

  std::uint64_t spool_;
  Limits limits_;
  std::deque<Part> parts_;              // the oldest first; of the first one sent_ lines are the controller's
  bool open_ = false;                   // the last one is written to
  std::uint64_t next_order_ = 1, next_number_ = 1;
  std::size_t sent_ = 0, sent_bytes_ = 0;
  bool on_its_way_ = false;
  std::vector<Segment> removed_;
  std::uint64_t lost_ = 0;
  std::size_t waiting_ = 0, bytes_ = 0, unwritten_ = 0;
};

// segment_name is a segment's file, so that names sort as the segments do; segment_named reads one, and nothing else.
std::string segment_name(const EventQueue::Segment& s);
std::optional<EventQueue::Segment> segment_named(std::string_view name);

// whole_lines counts those that have their end: the last one may have been torn by a crash.
std::size_t whole_lines(std::string_view text) noexcept;

}  // namespace tg
