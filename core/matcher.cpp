#include "core/matcher.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>
#include <deque>
#include <span>
#include <utility>

#include "core/flat_index.h"
#include "core/glob.h"
#include "core/text_index.h"

namespace tg {
namespace {

std::uint64_t hash_of(const Cidr& c) noexcept {
  return hash_bytes(as_text(c.base().bytes())) ^ mix64(static_cast<std::uint64_t>(c.prefix()) + 1);
}

// hash_of_v4 is another for each address also in the 32 bits that FlatIndex keeps of it: what is found there is the network, without
// a look at it.
std::uint64_t hash_of_v4(Ipv4 base) noexcept { return std::uint64_t{mix32(base.value)} << 32; }

// alias_counts says whether the alias of `r` is a second name for one host: only then is it clear what it stands for.
bool alias_counts(const Resource& r) noexcept {
  if (r.alias.empty()) return false;
  return r.address.kind() == Address::Kind::name ||
         (r.address.kind() == Address::Kind::network && r.address.network().single());
}

bool is_exact(const Resource& r, std::string_view name) noexcept {
  return (r.address.kind() == Address::Kind::name && r.address.text() == name) || (alias_counts(r) && r.alias == name);
}

}  // namespace

struct Matcher::Index {
  // A wildcard, by its place in `all`, with what is needed to rank and to find it.
  struct Wildcard {
    std::uint32_t resource;
    std::uint16_t literals;
    std::uint8_t prefix;   // characters before the first * or ?
    std::uint8_t suffix;   // characters behind the last
  };
  // Many wildcards with one literal suffix, in `wildcards`: sorted by prefix, then literals downwards, then id.
  struct Bucket {
    std::uint32_t first;
    std::uint32_t count;
    std::uint16_t most_literals;
  };
  // A wildcard of a suffix that few have: it stands beside the suffix, and behind it the pattern without the suffix. Those that win
  // come first.
  struct Few {
    std::uint32_t resource;
    std::uint16_t literals;
    std::uint8_t size;     // of the pattern without the suffix
    bool simple;           // whose only wildcard is one *: a name with the suffix needs the prefix, too
  };
  static constexpr std::uint32_t kFew = 8;   // above, the prefix is looked up as well
  using Lengths = std::bitset<256>;
  // The IPv4 networks of one length.
  struct V4 {
    int length;
    FlatIndex networks;    // hash_of_v4 -> place in `all`
  };

  std::vector<Resource> all;   // sorted by id
  TextIndex exact;             // name or alias -> place in `all`
  std::vector<Wildcard> wildcards;
  std::vector<Bucket> buckets;
  TextIndex suffixes;          // literal suffix -> bucket, or the few that have it
  Lengths dotted;              // lengths of suffixes that begin with a dot
  std::vector<std::uint8_t> plain;   // and of the others
  Lengths prefixes;            // lengths of prefixes, in buckets
  std::vector<V4> v4;          // longest first
  FlatIndex v6;                // network -> place in `all`
  std::vector<std::uint8_t> v6_lengths;   // that occur, longest first

  explicit Index(std::vector<Resource> resources) : all(std::move(resources)) {
    const auto by_id = [](const Resource& a, const Resource& b) { return a.id < b.id; };
    if (!std::is_sorted(all.begin(), all.end(), by_id)) std::stable_sort(all.begin(), all.end(), by_id);
    all.erase(std::unique(all.begin(), all.end(), [](const Resource& a, const Resource& b) { return a.id == b.id; }),
              all.end());
    TG_CHECK(all.size() < 1u << 31);
    add_all();
    group_wildcards();
  }

  std::string_view text(const Wildcard& w) const noexcept { return all[w.resource].address.text(); }
  std::string_view prefix(const Wildcard& w) const noexcept { return text(w).substr(0, w.prefix); }
  std::string_view suffix(const Wildcard& w) const noexcept { return text(w).substr(text(w).size() - w.suffix); }

  void add_all() {
    std::array<std::size_t, 33> of_v4{};
    Lengths of_v6;
    std::size_t named = 0;
    for (const Resource& r : all) {
      named += (r.address.kind() == Address::Kind::name) + alias_counts(r);
      if (r.address.kind() != Address::Kind::network) continue;
      const Cidr& net = r.address.network();
      const auto length = static_cast<std::size_t>(net.prefix());
      if (net.base().is_v4()) ++of_v4[length];
      else of_v6.set(length);
    }
    for (std::size_t n = of_v4.size(); n-- > 0;) {
      if (of_v4[n] == 0) continue;
      v4.push_back({static_cast<int>(n), {}});
      v4.back().networks.reserve(of_v4[n]);
    }
    for (std::size_t n = 129; n-- > 0;) {
      if (of_v6[n]) v6_lengths.push_back(static_cast<std::uint8_t>(n));
    }
    std::vector<TextIndex::Entry> names;   // the smaller ids first, who win
    names.reserve(named);
    const auto add_name = [&](std::string_view name, std::uint32_t i) { names.push_back({hash_bytes(name), name, i}); };
    for (std::uint32_t i = 0; i < all.size(); ++i) {
      const Resource& r = all[i];
      switch (r.address.kind()) {
        case Address::Kind::name: add_name(r.address.text(), i); break;
        case Address::Kind::wildcard: add_wildcard(i); break;
        case Address::Kind::network: add_network(i); break;
      }
      if (alias_counts(r)) add_name(r.alias, i);
    }
    exact = TextIndex(names);
  }

  // Smaller ids come first, so whoever is there already wins.
  void add_network(std::uint32_t i) {
    const Cidr& net = all[i].address.network();
    if (net.base().is_v6()) {
      if (find_v6(net) == FlatIndex::kNone) v6.insert(hash_of(net), i);
      return;
    }
    V4& of_length = *std::ranges::find(v4, net.prefix(), &V4::length);
    const Ipv4 base = net.base().v4();
    if (find_v4(of_length, base) == FlatIndex::kNone) of_length.networks.insert(hash_of_v4(base), i);
  }

  void add_wildcard(std::uint32_t i) {
    const std::string& pattern = all[i].address.text();
    const std::size_t first = pattern.find_first_of("*?"), behind = pattern.size() - pattern.find_last_of("*?") - 1;
    TG_CHECK(pattern.size() <= 253);
    wildcards.push_back({i, static_cast<std::uint16_t>(glob_literals(pattern)), static_cast<std::uint8_t>(first),
                         static_cast<std::uint8_t>(behind)});
    if (behind > 0 && pattern[pattern.size() - behind] == '.') dotted.set(behind);
    else if (std::ranges::find(plain, behind) == plain.end()) plain.push_back(static_cast<std::uint8_t>(behind));
  }

  // group_wildcards leaves in `wildcards` those of buckets.
  void group_wildcards() {
    std::sort(wildcards.begin(), wildcards.end(), [&](const Wildcard& a, const Wildcard& b) {
      if (const int c = suffix(a).compare(suffix(b)); c != 0) return c < 0;
      if (const int c = prefix(a).compare(prefix(b)); c != 0) return c < 0;
      return a.literals != b.literals ? a.literals > b.literals : a.resource < b.resource;
    });
    std::vector<Wildcard> sorted;
    sorted.swap(wildcards);
    std::vector<TextIndex::Entry> tails;
    std::deque<Buffer> few;
    for (std::size_t i = 0, end = 0; i < sorted.size(); i = end) {
      const std::string_view tail = suffix(sorted[i]);
      for (end = i + 1; end < sorted.size() && suffix(sorted[end]) == tail;) ++end;
      const std::span<Wildcard> group(sorted.data() + i, end - i);
      tails.push_back({hash_bytes(tail), tail});
      if (group.size() <= kFew) tails.back().more = few.emplace_back(few_of(group));
      else tails.back().value = add_bucket(group);
    }
    suffixes = TextIndex(tails);
  }

  std::uint32_t add_bucket(std::span<const Wildcard> group) {
    Bucket bucket{static_cast<std::uint32_t>(wildcards.size()), static_cast<std::uint32_t>(group.size()), 0};
    for (const Wildcard& w : group) {
      wildcards.push_back(w);
      prefixes.set(w.prefix);
      bucket.most_literals = std::max(bucket.most_literals, w.literals);
    }
    buckets.push_back(bucket);
    return static_cast<std::uint32_t>(buckets.size() - 1);
  }

  Buffer few_of(std::span<Wildcard> group) const {
    std::ranges::sort(group, {}, [](const Wildcard& w) { return std::pair(-int{w.literals}, w.resource); });
    Buffer more;
    for (const Wildcard& w : group) {
      const bool simple = w.literals + 1u == text(w).size() && text(w)[w.prefix] == '*';
      const std::string_view head = text(w).substr(0, text(w).size() - w.suffix);
      const Few few{w.resource, w.literals, static_cast<std::uint8_t>(head.size()), simple};
      const auto* raw = reinterpret_cast<const std::uint8_t*>(&few);
      more.insert(more.end(), raw, raw + sizeof few);
      more.insert(more.end(), head.begin(), head.end());
    }
    return more;
  }

  static std::uint32_t find_v4(const V4& of_length, Ipv4 address) {
    const Ipv4 base{of_length.length == 0 ? 0 : address.value & ~std::uint32_t{0} << (32 - of_length.length)};
    return of_length.networks.find(hash_of_v4(base), [](std::uint32_t) { return true; });
  }
  std::uint32_t find_v6(const Cidr& net) const {
    return v6.find(hash_of(net), [&](std::uint32_t i) { return all[i].address.network() == net; });
  }

  // Best is the winner so far among wildcards.
  struct Best {
    std::uint32_t resource = FlatIndex::kNone;
    std::uint16_t literals = 0;
    template <class W>
    bool loses_to(const W& w) const noexcept {
      if (resource == FlatIndex::kNone || w.literals != literals) return resource == FlatIndex::kNone || w.literals > literals;
      return w.resource < resource;
    }
    template <class W>
    void take(const W& w) noexcept {
      resource = w.resource;
      literals = w.literals;
    }
  };

  // A suffix of a name that wildcards may have.
  struct Tail {
    std::uint64_t hash;
    std::size_t length;
  };
  using Tails = std::array<Tail, 512>;

  // fetch_tails returns how many there are.
  std::size_t fetch_tails(std::string_view name, Tails& tails) const {
    std::size_t count = 0;
    const auto fetch = [&](std::size_t length) {
      const std::uint64_t hash = hash_bytes(name.substr(name.size() - length));
      suffixes.fetch(hash);
      tails[count++] = {hash, length};
    };
    for (std::size_t dot = name.rfind('.'); dot != std::string_view::npos; dot = dot == 0 ? dot - 1 : name.rfind('.', dot - 1)) {
      const std::size_t length = name.size() - dot;
      if (length < dotted.size() && dotted[length]) fetch(length);
    }
    for (const std::uint8_t length : plain) {
      if (length <= name.size() && !(length > 0 && name[name.size() - length] == '.')) fetch(length);
    }
    return count;
  }

  const Resource* find_name(std::string_view name) const {
    const std::uint64_t hash = hash_bytes(name);
    exact.fetch(hash);
    Tails tails;
    const std::size_t count = suffixes.empty() ? 0 : fetch_tails(name, tails);
    if (const auto found = exact.find(hash, name)) return &all[found->value];
    Best best;
    for (const Tail& tail : std::span(tails).first(count)) {
      const auto found = suffixes.find(tail.hash, name.substr(name.size() - tail.length));
      if (!found) continue;
      if (found->more.empty()) search(buckets[found->value], name, tail.length, best);
      else search_few(found->more, name.substr(0, name.size() - tail.length), best);
    }
    return best.resource == FlatIndex::kNone ? nullptr : &all[best.resource];
  }

  // `head`: the name without the suffix.
  static void search_few(Bytes more, std::string_view head, Best& best) {
    while (!more.empty()) {
      Few few;
      std::memcpy(&few, more.data(), sizeof few);
      if (!best.loses_to(few)) return;   // as those behind it do not
      const std::string_view pattern = as_text(more.subspan(sizeof few, few.size));
      const bool fits = few.simple ? head.starts_with(pattern.substr(0, pattern.size() - 1)) : glob_matches(pattern, head);
      if (fits) return best.take(few);
      more = more.subspan(sizeof few + few.size);
    }
  }

  void search(const Bucket& bucket, std::string_view name, std::size_t tail, Best& best) const {
    if (best.resource != FlatIndex::kNone && bucket.most_literals < best.literals) return;
    const Wildcard* const begin = wildcards.data() + bucket.first;
    const Wildcard* const end = begin + bucket.count;
    for (std::size_t length = 0; length + tail <= name.size(); ++length) {
      if (length >= prefixes.size() || !prefixes[length]) continue;
      const std::string_view head = name.substr(0, length);
      const Wildcard* w =
          std::lower_bound(begin, end, head, [&](const Wildcard& a, std::string_view h) { return prefix(a) < h; });
      for (; w != end && best.loses_to(*w) && prefix(*w) == head; ++w) {
        if (glob_matches(text(*w), name)) best.take(*w);
      }
    }
  }
};

Matcher::Matcher() : Matcher(std::vector<Resource>{}) {}
Matcher::Matcher(std::vector<Resource> resources) : index_(std::make_unique<Index>(std::move(resources))) {}
Matcher::~Matcher() = default;
Matcher::Matcher(Matcher&&) noexcept = default;
Matcher& Matcher::operator=(Matcher&&) noexcept = default;

const Resource* Matcher::find(std::string_view name) const {
  return index_->find_name(name);
}

const Resource* Matcher::find(const IpAddress& ip) const {
  const IpAddress a = ip.unmapped();
  std::uint32_t found = FlatIndex::kNone;
  if (a.is_v4()) {
    for (auto at = index_->v4.begin(); at != index_->v4.end() && found == FlatIndex::kNone; ++at) {
      found = Index::find_v4(*at, a.v4());
    }
  } else {
    for (auto at = index_->v6_lengths.begin(); at != index_->v6_lengths.end() && found == FlatIndex::kNone; ++at) {
      found = index_->find_v6(Cidr(a, *at));
    }
  }
  return found == FlatIndex::kNone ? nullptr : &index_->all[found];
}

const Resource* Matcher::find(const Host& host) const {
  if (const auto* name = std::get_if<std::string>(&host)) return find(std::string_view(*name));
  return find(std::get<IpAddress>(host));
}

std::vector<const Resource*> Matcher::candidates(const Host& host) const {
  std::vector<const Resource*> out;
  const auto* name = std::get_if<std::string>(&host);
  const auto* ip = std::get_if<IpAddress>(&host);
  for (const Resource& r : index_->all) {
    if (name != nullptr ? r.address.matches(*name) || is_exact(r, *name) : r.address.matches(*ip)) out.push_back(&r);
  }
  // The smaller id stands first already.
  std::stable_sort(out.begin(), out.end(), [&](const Resource* a, const Resource* b) {
    if (ip != nullptr) return a->address.network().prefix() > b->address.network().prefix();
    const bool exact_a = is_exact(*a, *name), exact_b = is_exact(*b, *name);
    if (exact_a || exact_b) return exact_a && !exact_b;
    return a->address.literals() > b->address.literals();
  });
  return out;
}

const Resource* Matcher::by_id(ResourceId id) const {
  const auto& all = index_->all;
  const auto at =
      std::lower_bound(all.begin(), all.end(), id, [](const Resource& r, ResourceId i) { return r.id < i; });
  return at != all.end() && at->id == id ? &*at : nullptr;
}

std::span<const Resource> Matcher::resources() const noexcept { return index_->all; }

std::string target_host(const Resource& r, std::string_view name) {
  return alias_counts(r) && r.alias == name ? r.address.text() : std::string(name);
}

}  // namespace tg
