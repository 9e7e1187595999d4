#include "core/matcher.h"

#include <algorithm>
#include <bitset>

#include "core/flat_index.h"
#include "core/glob.h"

namespace tg {
namespace {

// SuffixHash is fed a name from its end, so that it knows the hash of every suffix after one pass.
class SuffixHash {
 public:
  void add(char c) noexcept { h_ = (h_ ^ static_cast<unsigned char>(c)) * 0x9E3779B97F4A7C15ull; }
  std::uint64_t value() const noexcept { return mix64(h_); }
  static std::uint64_t of(std::string_view s) noexcept {
    SuffixHash h;
    for (std::size_t i = s.size(); i > 0; --i) h.add(s[i - 1]);
    return h.value();
  }

 private:
  std::uint64_t h_ = 0xCBF29CE484222325ull;
};

std::uint64_t hash_of(const Cidr& c) noexcept {
  return hash_bytes(as_text(c.base().bytes())) ^ mix64(static_cast<std::uint64_t>(c.prefix()) + 1);
}

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
  // The wildcards with one literal suffix, in `wildcards`: sorted by prefix, then literals downwards, then id.
  struct Bucket {
    std::uint32_t first;
    std::uint32_t count;
    std::uint16_t most_literals;
  };
  static constexpr std::uint32_t kSmallBucket = 8;   // above, the prefix is looked up as well
  using Lengths = std::bitset<256>;

  std::vector<Resource> all;   // sorted by id
  FlatIndex exact;             // name -> place in `all`, twice, plus one for an alias
  std::vector<Wildcard> wildcards;
  std::vector<Bucket> buckets;
  FlatIndex suffixes;          // literal suffix -> bucket
  Lengths dotted, plain;       // lengths of suffixes that begin with a dot, and of the others
  Lengths prefixes;            // lengths of prefixes
  FlatIndex networks;          // network -> place in `all`
  std::vector<std::uint8_t> v4_lengths, v6_lengths;   // prefix lengths that occur, longest first

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
  std::string_view exact_text(std::uint32_t code) const noexcept {
    return code % 2 == 1 ? all[code / 2].alias : all[code / 2].address.text();
  }

  void add_all() {
    std::size_t names = 0, nets = 0;
    for (const Resource& r : all) {
      names += (r.address.kind() == Address::Kind::name) + alias_counts(r);
      nets += r.address.kind() == Address::Kind::network;
    }
    exact.reserve(names);
    networks.reserve(nets);
    wildcards.reserve(all.size() - std::min(all.size(), names + nets));
    Lengths v4, v6;
    for (std::uint32_t i = 0; i < all.size(); ++i) {
      const Resource& r = all[i];
      switch (r.address.kind()) {
        case Address::Kind::name: add_exact(i * 2); break;
        case Address::Kind::wildcard: add_wildcard(i); break;
        case Address::Kind::network: {
          const Cidr& net = r.address.network();
          (net.base().is_v6() ? v6 : v4).set(static_cast<std::size_t>(net.prefix()));
          if (find_network(net) == FlatIndex::kNone) networks.insert(hash_of(net), i);
          break;
        }
      }
      if (alias_counts(r)) add_exact(i * 2 + 1);
    }
    for (std::size_t n = 129; n-- > 0;) {
      if (v4[n]) v4_lengths.push_back(static_cast<std::uint8_t>(n));
      if (v6[n]) v6_lengths.push_back(static_cast<std::uint8_t>(n));
    }
  }

  // Smaller ids come first, so whoever is there already wins.
  void add_exact(std::uint32_t code) {
    if (find_exact(exact_text(code)) == FlatIndex::kNone) exact.insert(hash_bytes(exact_text(code)), code);
  }

  void add_wildcard(std::uint32_t i) {
    const std::string& pattern = all[i].address.text();
    const std::size_t first = pattern.find_first_of("*?"), behind = pattern.size() - pattern.find_last_of("*?") - 1;
    TG_CHECK(pattern.size() <= 253);
    wildcards.push_back({i, static_cast<std::uint16_t>(glob_literals(pattern)), static_cast<std::uint8_t>(first),
                         static_cast<std::uint8_t>(behind)});
    prefixes.set(first);
    (behind > 0 && pattern[pattern.size() - behind] == '.' ? dotted : plain).set(behind);
  }

  void group_wildcards() {
    std::sort(wildcards.begin(), wildcards.end(), [&](const Wildcard& a, const Wildcard& b) {
      if (const int c = suffix(a).compare(suffix(b)); c != 0) return c < 0;
      if (const int c = prefix(a).compare(prefix(b)); c != 0) return c < 0;
      return a.literals != b.literals ? a.literals > b.literals : a.resource < b.resource;
    });
    for (std::uint32_t i = 0; i < wildcards.size(); ++i) {
      const Wildcard& w = wildcards[i];
      if (i == 0 || suffix(wildcards[i - 1]) != suffix(w)) {
        suffixes.insert(SuffixHash::of(suffix(w)), static_cast<std::uint32_t>(buckets.size()));
        buckets.push_back({i, 0, 0});
      }
      ++buckets.back().count;
      buckets.back().most_literals = std::max(buckets.back().most_literals, w.literals);
    }
  }

  std::uint32_t find_exact(std::string_view name) const {
    return exact.find(hash_bytes(name), [&](std::uint32_t code) { return exact_text(code) == name; });
  }
  std::uint32_t find_network(const Cidr& net) const {
    return networks.find(hash_of(net), [&](std::uint32_t i) { return all[i].address.network() == net; });
  }

  // Best is the winner so far among wildcards.
  struct Best {
    const Wildcard* wildcard = nullptr;
    bool loses_to(const Wildcard& w) const noexcept {
      if (wildcard == nullptr || w.literals != wildcard->literals)
        return wildcard == nullptr || w.literals > wildcard->literals;
      return w.resource < wildcard->resource;
    }
  };

  const Resource* find_wildcard(std::string_view name) const {
    Best best;
    SuffixHash hash;
    for (std::size_t length = 0; length <= name.size() && length < 256; ++length) {
      if (length > 0) hash.add(name[name.size() - length]);
      const bool dot = length > 0 && name[name.size() - length] == '.';
      if (!(dot ? dotted : plain)[length]) continue;
      const std::string_view tail = name.substr(name.size() - length);
      const std::uint32_t b = suffixes.find(
          hash.value(), [&](std::uint32_t i) { return suffix(wildcards[buckets[i].first]) == tail; });
      if (b != FlatIndex::kNone) search(buckets[b], name, length, best);
    }
    return best.wildcard == nullptr ? nullptr : &all[best.wildcard->resource];
  }

  void search(const Bucket& bucket, std::string_view name, std::size_t tail, Best& best) const {
    if (best.wildcard != nullptr && bucket.most_literals < best.wildcard->literals) return;
    const Wildcard* const begin = wildcards.data() + bucket.first;
    const Wildcard* const end = begin + bucket.count;
    if (bucket.count <= kSmallBucket) {
      for (const Wildcard* w = begin; w != end; ++w) {
        if (best.loses_to(*w) && glob_matches(text(*w), name)) best.wildcard = w;
      }
      return;
    }
    for (std::size_t length = 0; length + tail <= name.size(); ++length) {
      if (!prefixes[length]) continue;
      const std::string_view head = name.substr(0, length);
      const Wildcard* w =
          std::lower_bound(begin, end, head, [&](const Wildcard& a, std::string_view h) { return prefix(a) < h; });
      for (; w != end && best.loses_to(*w) && prefix(*w) == head; ++w) {
        if (glob_matches(text(*w), name)) best.wildcard = w;
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
  const std::uint32_t code = index_->find_exact(name);
  return code != FlatIndex::kNone ? &index_->all[code / 2] : index_->find_wildcard(name);
}

const Resource* Matcher::find(const IpAddress& ip) const {
  const IpAddress a = ip.unmapped();
  for (const std::uint8_t length : a.is_v6() ? index_->v6_lengths : index_->v4_lengths) {
    const std::uint32_t i = index_->find_network(Cidr(a, length));
    if (i != FlatIndex::kNone) return &index_->all[i];
  }
  return nullptr;
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
