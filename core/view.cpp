#include "core/view.h"

#include "core/json.h"
#include "core/text.h"

namespace tg {

namespace {

const Json& item(const Json& j) { return j; }
const Json& item(const std::shared_ptr<const Json>& j) { return *j; }
bool same(const Json& a, const Json& b) { return a == b; }
bool same(const std::shared_ptr<const Json>& a, const std::shared_ptr<const Json>& b) { return a == b || *a == *b; }

template <class Items>
Delta difference_of(const Items& from, const Items& to) {
  Delta out;
  auto old = from.begin();
  for (const auto& [key, value] : to) {
    for (; old != from.end() && old->first < key; ++old) out.remove.push_back(old->first);
    const bool known = old != from.end() && old->first == key;
    if (!known || !same(old->second, value)) out.set.emplace_hint(out.set.end(), key, item(value));
    if (known) ++old;
  }
  for (; old != from.end(); ++old) out.remove.push_back(old->first);
  return out;
}

}  // namespace

Delta difference(const View& from, const View& to) { return difference_of(from, to); }
Delta difference(const SharedView& from, const SharedView& to) { return difference_of(from, to); }

View copy_of(const SharedView& view) {
  View out;
  for (const auto& [key, value] : view) out.emplace_hint(out.end(), key, *value);
  return out;
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

Result<Buffer> try_control_frame(const Json& message) {
  const std::string text = json_text(message);
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
