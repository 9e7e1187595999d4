#include "core/view.h"

#include "core/json.h"
#include "core/text.h"

#include <fmt/format.h>

namespace tg {
namespace {

bool same(const Json& a, const Json& b) { return a == b; }
bool same(const std::shared_ptr<const std::string>& a, const std::shared_ptr<const std::string>& b) { return a == b || *a == *b; }

// walk calls `set` for what is new or another in `to`, and `remove` for what is in `from` only. Both are sorted.
template <class Map, class Set, class Remove>
void walk(const Map& from, const Map& to, Set set, Remove remove) {
  auto old = from.begin();
  for (const auto& [key, value] : to) {
    for (; old != from.end() && old->first < key; ++old) remove(old->first);
    const bool known = old != from.end() && old->first == key;
    if (!known || !same(old->second, value)) set(key, value);
    if (known) ++old;
  }
  for (; old != from.end(); ++old) remove(old->first);
}

}  // namespace

Delta difference(const View& from, const View& to) {
  Delta out;
  walk(from, to, [&](const std::string& key, const Json& value) { out.set.emplace_hint(out.set.end(), key, value); },
       [&](const std::string& key) { out.remove.push_back(key); });
  return out;
}

void Teller::write(Part& out, const Items& from, const Items& to) {
  const auto next = [](std::string& list, const std::string& key) {
    if (!list.empty()) list += ',';
    list += json_text(key);
  };
  walk(from, to,
       [&](const std::string& key, const std::shared_ptr<const std::string>& value) {
         next(out.set, key);
         out.set += ':';
         out.set += *value;
       },
       [&](const std::string& key) { next(out.remove, key); });
}

const Teller::Part& Teller::part(const Common& from, const Common& to) {
  static const Items kNone;
  if (remembered_ > kRemembered) forget();
  const auto [at, fresh] = known_.try_emplace({from, to});
  Part& out = at->second;
  if (fresh) {
    write(out, from ? *from : kNone, to ? *to : kNone);
    remembered_ += out.set.size() + out.remove.size();
  }
  return out;
}

void Teller::forget() {
  known_.clear();
  remembered_ = 0;
}

std::string Teller::snapshot(const ToldView& view, std::uint64_t revision, UnixTime now) {
  Part all = part(nullptr, view.common);
  write(all, {}, view.own);
  return fmt::format(R"({{"type":"snapshot","revision":{},"time":{},"items":{{{}}}}})", revision, now.time_since_epoch().count(), all.set);
}

std::string Teller::delta(const ToldView& from, const ToldView& to, std::uint64_t revision) {
  Part all = from.common == to.common ? Part() : part(from.common, to.common);
  write(all, from.own, to.own);
  if (all.set.empty() && all.remove.empty()) return {};
  return fmt::format(R"({{"type":"delta","revision":{},"set":{{{}}},"remove":[{}]}})", revision, all.set, all.remove);
}

void apply(View& view, const Delta& delta) {
  for (const std::string& key : delta.remove) view.erase(key);
  for (const auto& [key, value] : delta.set) view.insert_or_assign(key, value);
}

std::string unknown_message(std::string_view type) { return "unknown message \"" + printable(type, 64) + "\""; }

void ControlReader::feed(Bytes b) {
  // What was read goes when it is at least half of what is held: each byte is moved once on average.
  if (at_ == pending_.size()) {
    pending_.clear();
    if (pending_.capacity() > kControlBeforeIdentity) Buffer().swap(pending_);
    at_ = 0;
  } else if (at_ > pending_.size() / 2) {
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ = 0;
  }
  pending_.insert(pending_.end(), b.begin(), b.end());
}

Result<std::optional<Json>> ControlReader::next() {
  if (broken_) return fail(Errc::protocol, "the control stream is broken");
  Reader r(Bytes(pending_).subspan(at_));
  if (r.left() < 4) return std::optional<Json>();
  const std::uint32_t size = r.u32();
  broken_ = true;   // until it turns out otherwise
  if (size > max_) return fail(Errc::protocol, "a control message of " + std::to_string(size) + " bytes is too large");
  if (r.left() < size) {
    broken_ = false;
    return std::optional<Json>();
  }
  auto message = parse_json(as_text(r.bytes(size)));
  if (!message) return fail(Errc::protocol, "a control message is not JSON");
  if (!message->is_object() || !message->contains("type") || !(*message)["type"].is_string()) {
    return fail(Errc::protocol, "a control message has no type");
  }
  broken_ = false;
  at_ += r.offset();
  return message;
}

Buffer control_frame(const Json& message) {
  auto out = try_control_frame(message);
  TG_CHECK(out);
  return std::move(*out);
}

Result<Buffer> try_control_frame(const Json& message) { return try_control_frame(std::string_view(json_text(message))); }

Result<Buffer> try_control_frame(std::string_view text) {
  if (text.size() > kControlFrameMax) {
    return fail(Errc::exhausted, "a message of " + std::to_string(text.size()) + " bytes is more than the " +
                                     std::to_string(kControlFrameMax >> 20) + " MiB that one may have");
  }
  Buffer out;
  out.reserve(4 + text.size());
  Writer w(out);
  w.u32(static_cast<std::uint32_t>(text.size()));
  w.text(text);
  return out;
}

}  // namespace tg
