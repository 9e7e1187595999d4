#include "core/event_queue.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "core/result.h"

namespace tg {

void EventQueue::found(const Segment& segment, std::size_t bytes, std::size_t lines) {
  next_order_ = std::max(next_order_, segment.order + 1);
  if (lines == 0) {
    removed_.push_back(segment);
    return;
  }
  parts_.push_back({segment, bytes, bytes, lines, 0, std::nullopt});
  waiting_ += lines;
  bytes_ += bytes;
}

// part_for returns the segment that the next line belongs to.
EventQueue::Part& EventQueue::part_for(std::size_t bytes) {
  if (!open_ || parts_.back().bytes + bytes > limits_.segment) {
    parts_.push_back({{next_order_++, spool_, next_number_}, 0, 0, 0, 0, std::string()});
    open_ = true;
    if (parts_.size() == 1) sent_ = sent_bytes_ = 0;
  }
  return parts_.back();
}

void EventQueue::add(std::string_view line, std::uint64_t tells) {
  Part& part = part_for(line.size() + 1);
  part.text->append(line) += '\n';
  part.bytes += line.size() + 1;
  ++part.lines;
  part.tells += tells;
  ++next_number_;
  ++waiting_;
  bytes_ += line.size() + 1;
  unwritten_ += line.size() + 1;
  keep_to_limits();
}

// The newest segment is never given up for its limits: it is what goes on being written.
void EventQueue::keep_to_limits() {
  while (bytes_ > limits_.total && parts_.size() > 1) give_up(parts_.begin());
  while (unwritten_ > limits_.unwritten && parts_.size() > 1) {
    const auto part = std::find_if(parts_.begin(), parts_.end(), [](const Part& p) { return p.written < p.bytes; });
    if (std::next(part) == parts_.end()) return;
    give_up(part);
  }
}

void EventQueue::give_up(std::deque<Part>::iterator part) {
  const std::size_t left = part->lines - (part == parts_.begin() ? sent_ : 0);
  lost_ += left + part->tells;
  waiting_ -= left;
  drop(part);
}

void EventQueue::drop(std::deque<Part>::iterator part) {
  if (part == parts_.begin()) {
    sent_ = sent_bytes_ = 0;
    on_its_way_ = false;
  }
  bytes_ -= part->bytes;
  unwritten_ -= part->bytes - part->written;
  removed_.push_back(part->name);
  if (std::next(part) == parts_.end()) open_ = false;
  parts_.erase(part);
}

std::vector<EventQueue::Unwritten> EventQueue::unwritten() const {
  std::vector<Unwritten> out;
  for (const Part& p : parts_) {
    if (p.written < p.bytes) out.push_back({p.name, p.written, std::string_view(*p.text).substr(p.written)});
  }
  return out;
}

void EventQueue::written(const Segment& segment, std::size_t bytes) {
  const auto part = std::find_if(parts_.begin(), parts_.end(), [&](const Part& p) { return p.name == segment; });
  if (part == parts_.end()) return;
  TG_CHECK(bytes <= part->bytes - part->written);
  part->written += bytes;
  unwritten_ -= bytes;
  const bool needed = part == parts_.begin() || (open_ && std::next(part) == parts_.end());
  if (part->written == part->bytes && !needed) part->text.reset();   // it is loaded when its turn comes
}

std::vector<EventQueue::Segment> EventQueue::removed() { return std::exchange(removed_, {}); }

std::optional<EventQueue::Segment> EventQueue::wanted() const {
  if (parts_.empty() || parts_.front().text) return std::nullopt;
  return parts_.front().name;
}

void EventQueue::loaded(const Segment& segment, std::optional<std::string> text) {
  if (wanted() != segment) return;
  Part& part = parts_.front();
  if (!text) return give_up(parts_.begin());
  const std::size_t lines = whole_lines(*text);
  if (lines < part.lines) lost_ += part.lines - lines;
  waiting_ = waiting_ - part.lines + lines;
  bytes_ = bytes_ - part.bytes + text->size();
  part.lines = lines;
  part.bytes = part.written = text->size();
  part.text = std::move(text);
  if (lines == 0) drop(parts_.begin());
}

std::optional<EventQueue::Batch> EventQueue::take(std::size_t lines, std::size_t bytes) {
  if (on_its_way_ || parts_.empty() || !parts_.front().text || sent_ == parts_.front().lines) return std::nullopt;
  const Part& part = parts_.front();
  Batch out{part.name.spool, part.name.first + sent_, {}};
  std::size_t at = sent_bytes_;
  while (out.lines.size() < lines && sent_ + out.lines.size() < part.lines) {
    const std::string_view line = std::string_view(*part.text).substr(at, part.text->find('\n', at) - at);
    if (!out.lines.empty() && at + line.size() - sent_bytes_ > bytes) break;
    out.lines.push_back(line);
    at += line.size() + 1;
  }
  on_its_way_ = true;
  return out;
}

void EventQueue::kept(std::uint64_t spool, std::uint64_t through) {
  if (!on_its_way_ || parts_.front().name.spool != spool) return;
  const std::uint64_t next = parts_.front().name.first + sent_;
  if (through < next) return;
  on_its_way_ = false;
  pass(static_cast<std::size_t>(std::min<std::uint64_t>(through - next + 1, parts_.front().lines - sent_)));
}

// pass goes on behind `lines` lines of the first segment. One that is done is of no use; also the newest, whose place another
// takes.
void EventQueue::pass(std::size_t lines) {
  const Part& part = parts_.front();
  sent_ += lines;
  waiting_ -= lines;
  if (sent_ == part.lines) return drop(parts_.begin());
  for (; lines > 0; --lines) sent_bytes_ = part.text->find('\n', sent_bytes_) + 1;
}

std::uint64_t EventQueue::lost() noexcept { return std::exchange(lost_, 0); }

std::string segment_name(const EventQueue::Segment& s) {
  return fmt::format("{:016x}-{:016x}-{:016x}.jsonl", s.order, s.spool, s.first);
}

std::optional<EventQueue::Segment> segment_named(std::string_view name) {
  EventQueue::Segment out;
  std::string_view left = name;
  for (std::uint64_t* number : {&out.order, &out.spool, &out.first}) {
    const auto [end, error] = std::from_chars(left.data(), left.data() + std::min<std::size_t>(left.size(), 16), *number, 16);
    if (error != std::errc()) return std::nullopt;
    left.remove_prefix(std::min(left.size(), static_cast<std::size_t>(end - left.data()) + 1));
  }
  if (segment_name(out) != name) return std::nullopt;
  return out;
}

std::size_t whole_lines(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace tg
