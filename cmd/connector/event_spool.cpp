#include "cmd/connector/event_spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "core/json.h"
#include "net/control_stream.h"
#include "net/files.h"
#include "net/log.h"

namespace tg::connector {
namespace {

constexpr Duration kWrittenTogether = std::chrono::milliseconds(500);    // events that are written and sent at once
constexpr Duration kBetween = std::chrono::milliseconds(125);     // two batches: a controller takes ten messages a second
constexpr Duration kDiskAgain = std::chrono::seconds(5);
constexpr Duration kSayEvery = std::chrono::minutes(1);
constexpr std::size_t kBatchLines = 256, kBatchBytes = 64 * 1024;

Milliseconds wall() {
  return std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch());
}

}  // namespace

EventSpool::EventSpool(net::Loop& loop, std::string directory, EventQueue::Limits limits, std::function<void(const Json&)> send)
    : loop_(loop), directory_(std::move(directory)), queue_(net::random_seed(), limits), write_at_(limits.unwritten / 2), send_(std::move(send)) {
  flush_ = net::Timer(loop_, [this] { flush(); });
  next_ = net::Timer(loop_, [this] { send_next(); });
  disk_ = net::Timer(loop_, [this] { write(); });
  if (::mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) failed(net::os_error(errno, "make " + directory_).text);
  find();
}

EventSpool::~EventSpool() {
  write_again_ = {};
  write();
}

// find takes over what earlier processes left. Other files are left alone.
void EventSpool::find() {
  std::set<EventQueue::Segment> all;
  std::error_code error;
  for (std::filesystem::directory_iterator at(directory_, error), end; !error && at != end; at.increment(error)) {
    if (const auto segment = segment_named(at->path().filename().string())) all.insert(*segment);
  }
  for (const EventQueue::Segment& s : all) {
    const auto text = net::read_file(directory_ + "/" + segment_name(s));
    if (text) queue_.found(s, text->size(), whole_lines(*text));
    else net::log(net::Level::warning, "events are lost: {}", text.error().text);
  }
  if (queue_.waiting() > 0) net::log(net::Level::info, "{} events wait for the controller", queue_.waiting());
}

void EventSpool::record(const ConnectionEvent& e) {
  queue_.add(event_line(e));
  added();
}

void EventSpool::lose(std::uint64_t events) {
  queue_.lose(events);
  added();
}

void EventSpool::added() {
  tell_lost();
  if (queue_.unwritten_bytes() > write_at_) write();
  if (!std::exchange(due_, true)) flush_.after(kWrittenTogether);
}

void EventSpool::tell_lost() {
  const std::uint64_t lost = queue_.lost();
  if (lost == 0) return;
  ConnectionEvent e;
  e.kind = ConnectionEvent::Kind::lost;
  e.time = wall();
  e.lost = lost;
  queue_.add(event_line(e), lost);
  if (net::Loop::now() < say_again_) return;
  say_again_ = net::Loop::now() + kSayEvery;
  net::log(net::Level::warning, "{} events are lost: more wait for the controller than there is room for", lost);
}

void EventSpool::ready(bool yes) {
  if (ready_ && !yes) queue_.not_kept();
  ready_ = yes;
  if (ready_) send_next();
}

void EventSpool::flush() {
  due_ = false;
  write();
  send_next();
}

void EventSpool::write() {
  if (!problem_.empty() && net::Loop::now() < write_again_) return;
  if (!problem_.empty()) ::mkdir(directory_.c_str(), 0700);   // somebody may have taken it away
  remove();
  for (const EventQueue::Unwritten& u : queue_.unwritten()) {
    if (!write_one(u)) return;
  }
  if (!problem_.empty()) net::log(net::Level::info, "events are written again");
  problem_.clear();
}

void EventSpool::remove() {
  for (const EventQueue::Segment& s : queue_.removed()) {
    if (open_ == s) file_.reset();
    ::unlink((directory_ + "/" + segment_name(s)).c_str());
  }
}

// write_one writes where it left off, so that what a full disk took a part of is whole in the end.
bool EventSpool::write_one(const EventQueue::Unwritten& u) {
  if (!file_ || open_ != u.segment) {
    const std::string path = directory_ + "/" + segment_name(u.segment);
    file_ = net::Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    open_ = u.segment;
    if (!file_) {
      failed(net::os_error(errno, "write " + path).text);
      return false;
    }
  }
  std::size_t done = 0;
  while (done < u.bytes.size()) {
    const ssize_t n = ::pwrite(file_.get(), u.bytes.data() + done, u.bytes.size() - done, static_cast<off_t>(u.at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      failed(net::os_error(errno, "write events").text);
      break;
    }
    done += static_cast<std::size_t>(n);
  }
  const bool all = done == u.bytes.size();
  queue_.written(u.segment, done);
  return all;
}

void EventSpool::failed(const std::string& what) {
  if (problem_.empty()) net::log(net::Level::error, "{}; events are kept in memory", what);
  problem_ = what;
  file_.reset();
  write_again_ = net::Loop::now() + kDiskAgain;
  disk_.at(write_again_);
}

void EventSpool::send_next() {
  if (!ready_) return;
  while (const auto segment = queue_.wanted()) {
    auto text = net::read_file(directory_ + "/" + segment_name(*segment));
    if (!text) net::log(net::Level::warning, "events are lost: {}", text.error().text);
    queue_.loaded(*segment, text ? std::optional(std::move(*text)) : std::nullopt);
  }
  tell_lost();
  if (net::Loop::now() < send_again_) return next_.at(send_again_);
  const auto batch = queue_.take(kBatchLines, kBatchBytes);
  if (!batch) return;
  Json events = Json::array();
  for (const std::string_view line : batch->lines) events.push_back(parse_json(line).value_or(nullptr));   // null keeps its number
  send_again_ = net::Loop::now() + kBetween;
  const std::string spool = fmt::format("{:016x}", batch->spool);
  send_({{"type", "events"}, {"spool", spool}, {"first", batch->first}, {"events", std::move(events)}});
}

void EventSpool::kept(const Json& message) {
  const std::string name = text_or(message, "spool", "");
  std::uint64_t spool = 0;
  std::from_chars(name.data(), name.data() + name.size(), spool, 16);
  queue_.kept(spool, static_cast<std::uint64_t>(std::max<std::int64_t>(number_or(message, "through", 0), 0)));
  remove();
  send_next();
}

Json EventSpool::status() const {
  return {{"waiting", queue_.waiting()},
          {"bytes", queue_.bytes()},
          {"unwritten_bytes", queue_.unwritten_bytes()},
          {"problem", problem_}};
}

}  // namespace tg::connector
