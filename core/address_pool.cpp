#include "core/address_pool.h"

#include <algorithm>
#include <limits>

#include "core/flat_index.h"
#include "core/free_bits.h"
#include "core/resource.h"

namespace tg {
namespace {

constexpr std::string_view kHeader = "# tg addresses 1";
constexpr std::uint32_t kNobody = FlatIndex::kNone;

std::uint64_t hash_of(Ipv4 a) noexcept { return mix64(a.value); }

// place_of is where the search for the address of `name` begins. It decides which address people see after the saved
// mapping was lost, so it must never change: FNV-1a, 64 bits.
std::uint64_t place_of(std::string_view name) noexcept {
  std::uint64_t h = 0xCBF29CE484222325ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return mix64(h);
}

// Line is one mapping of a saved text.
struct Line {
  Ipv4 address;
  std::string_view name;
};

Result<Line> parse_line(std::string_view line, int number) {
  const auto bad = [&](const char* why) {
    return fail(Errc::malformed, "line " + std::to_string(number) + ": " + why);
  };
  const auto space = line.find(' ');
  if (space == std::string_view::npos) return bad("not ADDRESS NAME");
  const auto address = IpAddress::parse(line.substr(0, space));
  if (!address || !address->is_v4()) return bad("not an IPv4 address");
  const std::string_view name = line.substr(space + 1);
  const auto canonical = canonical_name(name);
  if (!canonical || *canonical != name) return bad("not a canonical name");
  return Line{address->v4(), name};
}

}  // namespace

struct AddressPool::State {
  // Entry is one name with its address. It stays for ever; only its name changes when the address is taken from it.
  struct Entry {
    std::unique_ptr<char[]> text;   // apart from the entry, so that name_of's answer stays where it is
    Instant held_until = Instant::min();
    Ipv4 address;
    std::uint32_t pins = 0;
    std::uint32_t older = kNobody, newer = kNobody;   // neighbours in the queue
    std::uint8_t size = 0;
    bool kept_out = false;          // its address is not lent to another name
    std::string_view name() const noexcept { return {text.get(), size}; }
    bool queued() const noexcept { return pins == 0 && !kept_out; }
  };
  struct Span { std::uint32_t first, last; };

  Cidr range;
  std::uint32_t first, last;   // of the range
  FreeBits addresses;          // by distance from `first`; those that are not to be lent are taken
  std::vector<Span> reserved;  // for good
  std::vector<Cidr> kept_out;
  std::vector<Span> outside;   // both and the range's ends, in order and apart from each other
  std::size_t capacity = 0;
  Lent lent_now;
  std::vector<Entry> entries;
  FlatIndex names, lent;
  // The queue of entries that may give way: no flow pins them, and their address may be lent anew. Least recently used
  // first. Whoever joins it is held from the latest time known, so that it is in the order of held_until as well, and
  // its head alone says whether anybody can give way. (What is loaded late stands before those that are held for less:
  // they then give way a little later than they could.)
  std::uint32_t oldest = kNobody, newest = kNobody;
  Instant latest = Instant::min();
  std::uint64_t changes = 0;

  State(Cidr r, const std::vector<Cidr>& never)
      : range(r),
        first(r.base().v4().value),
        last(first | (0xFFFFFFFFu >> r.prefix())),
        addresses(std::size_t{last - first} + 1),
        reserved(spans(never)) {
    reserved.push_back({first, first});
    reserved.push_back({last, last});
    lay_out();
  }

  // spans returns what `networks` have of the range.
  std::vector<Span> spans(const std::vector<Cidr>& networks) const {
    std::vector<Span> out;
    for (const Cidr& c : networks) {
      if (!c.base().is_v4() || !c.overlaps(range)) continue;
      const std::uint32_t low = c.base().v4().value;
      const std::uint32_t high = c.single() ? low : low | (0xFFFFFFFFu >> c.prefix());
      out.push_back({std::max(low, first), std::min(high, last)});
    }
    return out;
  }

  bool is_outside(Ipv4 a) const {
    const auto next = std::upper_bound(outside.begin(), outside.end(), a.value,
                                       [](std::uint32_t v, const Span& s) { return v < s.first; });
    return next != outside.begin() && std::prev(next)->last >= a.value;
  }

  // lay_out says anew which addresses are free to lend, and which entries may give way.
  void lay_out() {
    std::vector<Span> all = spans(kept_out);
    all.insert(all.end(), reserved.begin(), reserved.end());
    std::sort(all.begin(), all.end(), [](const Span& a, const Span& b) { return a.first < b.first; });
    outside.clear();
    for (const Span& s : all) {
      if (outside.empty() || s.first > outside.back().last) outside.push_back(s);
      else outside.back().last = std::max(outside.back().last, s.last);
    }
    addresses = FreeBits(std::size_t{last - first} + 1);
    capacity = std::size_t{last - first} + 1;
    for (const Span& s : outside) {
      capacity -= std::size_t{s.last - s.first} + 1;
      for (std::size_t i = s.first - first; i <= s.last - first; ++i) addresses.take(i);
    }
    for (std::uint32_t i = 0; i < entries.size(); ++i) {
      Entry& e = entries[i];
      addresses.take(e.address.value - first);
      const bool out = is_outside(e.address);
      if (out == e.kept_out) continue;
      if (e.queued()) leave_queue(i);
      e.kept_out = out;
      if (!e.queued()) continue;
      hold(e);
      join_as_newest(i);
    }
  }

  std::uint32_t find(std::string_view name) const {
    return names.find(hash_bytes(name), [&](std::uint32_t i) { return entries[i].name() == name; });
  }
  std::uint32_t find(Ipv4 address) const {
    return lent.find(hash_of(address), [&](std::uint32_t i) { return entries[i].address == address; });
  }

  void leave_queue(std::uint32_t i) {
    Entry& e = entries[i];
    (e.older == kNobody ? oldest : entries[e.older].newer) = e.newer;
    (e.newer == kNobody ? newest : entries[e.newer].older) = e.older;
    e.older = e.newer = kNobody;
  }
  void join_as_newest(std::uint32_t i) {
    entries[i].older = newest;
    (newest == kNobody ? oldest : entries[newest].newer) = i;
    newest = i;
  }
  void join_as_oldest(std::uint32_t i) {
    entries[i].newer = oldest;
    (oldest == kNobody ? newest : entries[oldest].older) = i;
    oldest = i;
  }

  void hold(Entry& e) const {
    if (latest != Instant::min()) e.held_until = std::max(e.held_until, latest + kHold);
  }

  // set_name writes `name` into entry `i` and makes it findable.
  void set_name(std::uint32_t i, std::string_view name) {
    Entry& e = entries[i];
    e.text = std::make_unique<char[]>(name.size());
    std::copy(name.begin(), name.end(), e.text.get());
    e.size = static_cast<std::uint8_t>(name.size());
    names.insert(hash_bytes(name), i);
    ++changes;
  }

  // add makes an entry for an address that was free. It is in no queue yet.
  std::uint32_t add(Ipv4 address, std::string_view name) {
    const auto i = static_cast<std::uint32_t>(entries.size());
    entries.emplace_back().address = address;
    addresses.take(address.value - first);
    lent.insert(hash_of(address), i);
    set_name(i, name);
    return i;
  }

  // lend returns an entry for `name`, on a free address or on the one used longest ago; kNobody when all are in use.
  std::uint32_t lend(std::string_view name) {
    const std::uint64_t start = place_of(name) % (std::uint64_t{last - first} + 1);
    auto place = addresses.next_free(static_cast<std::size_t>(start));
    if (!place) place = addresses.next_free(0);
    if (place) return add(Ipv4{first + static_cast<std::uint32_t>(*place)}, name);
    const std::uint32_t i = oldest;
    if (i == kNobody || entries[i].held_until > latest) return kNobody;
    leave_queue(i);
    names.erase(hash_bytes(entries[i].name()), i);
    set_name(i, name);
    return i;
  }

  // take takes loaded lines from the newest to the oldest, each before all others: the order of the text is kept,
  // behind nobody who is here already.
  void take(const std::vector<Line>& lines, Instant now) {
    latest = std::max(latest, now);
    for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
      if (!range.contains(line->address) || addresses.taken(line->address.value - first)) continue;
      if (find(line->name) != kNobody) continue;
      const std::uint32_t i = add(line->address, line->name);
      hold(entries[i]);
      join_as_oldest(i);
    }
  }
};

AddressPool::AddressPool(Cidr range, std::vector<Cidr> reserved) {
  TG_CHECK(range.base().is_v4() && range.prefix() >= 8 && range.prefix() <= 30);
  state_ = std::make_unique<State>(range, reserved);
}
AddressPool::~AddressPool() = default;
AddressPool::AddressPool(AddressPool&&) noexcept = default;
AddressPool& AddressPool::operator=(AddressPool&&) noexcept = default;

const Cidr& AddressPool::range() const noexcept { return state_->range; }

void AddressPool::keep_out(std::vector<Cidr> networks) {
  if (networks == state_->kept_out) return;
  state_->kept_out = std::move(networks);
  state_->lay_out();
}

void AddressPool::on_lent(Lent lent) { state_->lent_now = std::move(lent); }

Result<Ipv4> AddressPool::acquire(std::string_view name, Instant now) {
  if (name.empty() || name.size() > 253) return fail(Errc::invalid_argument, "no name of 1 to 253 characters");
  State& s = *state_;
  s.latest = std::max(s.latest, now);
  std::uint32_t i = s.find(name);
  if (i == kNobody) {
    i = s.lend(name);
    if (i == kNobody) return fail(Errc::exhausted, "all " + std::to_string(s.capacity) + " addresses are in use");
    s.join_as_newest(i);
    if (s.lent_now) s.lent_now(s.entries[i].address, name);
  } else if (s.entries[i].queued() && s.newest != i) {
    s.leave_queue(i);
    s.join_as_newest(i);
  }
  s.hold(s.entries[i]);
  return s.entries[i].address;
}

std::optional<Ipv4> AddressPool::find(std::string_view name) const {
  const std::uint32_t i = state_->find(name);
  return i == kNobody ? std::nullopt : std::optional(state_->entries[i].address);
}

std::optional<std::string_view> AddressPool::name_of(Ipv4 address) const {
  const std::uint32_t i = state_->find(address);
  return i == kNobody ? std::nullopt : std::optional(state_->entries[i].name());
}

void AddressPool::pin(Ipv4 address) {
  const std::uint32_t i = state_->find(address);
  if (i == kNobody) return;
  if (state_->entries[i].queued()) state_->leave_queue(i);
  ++state_->entries[i].pins;
}

void AddressPool::unpin(Ipv4 address) {
  const std::uint32_t i = state_->find(address);
  if (i == kNobody || state_->entries[i].pins == 0) return;
  if (--state_->entries[i].pins > 0) return;
  state_->hold(state_->entries[i]);
  if (state_->entries[i].queued()) state_->join_as_newest(i);
}

bool AddressPool::held(Ipv4 address, Instant now) const {
  const std::uint32_t i = state_->find(address);
  return i != kNobody && (state_->entries[i].pins > 0 || state_->entries[i].held_until > now);
}

std::size_t AddressPool::size() const noexcept { return state_->entries.size(); }
std::size_t AddressPool::capacity() const noexcept { return state_->capacity; }
std::uint64_t AddressPool::changes() const noexcept { return state_->changes; }

std::string AddressPool::line(Ipv4 address, std::string_view name) {
  return IpAddress(address).to_string().append(" ").append(name).append("\n");
}

std::string AddressPool::save() const {
  std::string out(kHeader);
  out += '\n';
  const auto line = [&](const State::Entry& e) { out += AddressPool::line(e.address, e.name()); };
  for (std::uint32_t i = state_->oldest; i != kNobody; i = state_->entries[i].newer) line(state_->entries[i]);
  for (const auto& e : state_->entries) {
    if (!e.queued()) line(e);   // in use just now, or never to give way: the newest of all
  }
  return out;
}

Result<> AddressPool::load(std::string_view text, Instant now) {
  std::vector<Line> lines;
  FlatIndex names, addresses;   // of this text
  for (int number = 1; number == 1 || !text.empty(); ++number) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos)
      return fail(Errc::malformed, "line " + std::to_string(number) + ": is cut short");
    const std::string_view one = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (number == 1) {
      if (one != kHeader) return fail(Errc::malformed, "line 1: not \"" + std::string(kHeader) + "\"");
      continue;
    }
    auto line = parse_line(one, number);
    if (!line) return pass_on(line);
    const bool twice =
        names.find(hash_bytes(line->name), [&](std::uint32_t i) { return lines[i].name == line->name; }) != kNobody ||
        addresses.find(hash_of(line->address), [&](std::uint32_t i) { return lines[i].address == line->address; }) !=
            kNobody;
    if (twice)
      return fail(Errc::malformed, "line " + std::to_string(number) + ": the name or the address stands twice");
    names.insert(hash_bytes(line->name), static_cast<std::uint32_t>(lines.size()));
    addresses.insert(hash_of(line->address), static_cast<std::uint32_t>(lines.size()));
    lines.push_back(*line);
  }
  state_->take(lines, now);
  return {};
}

void AddressPool::load_lent(std::string_view text, Instant now) {
  std::vector<Line> lines;
  for (auto end = text.find('\n'); end != text.npos; end = text.find('\n')) {
    const auto line = parse_line(text.substr(0, end), 0);
    if (!line) break;
    lines.push_back(*line);
    text.remove_prefix(end + 1);
  }
  state_->take(lines, now);
}

}  // namespace tg
