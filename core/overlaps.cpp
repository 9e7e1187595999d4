// Which Resources of a desired state share hosts, and which of them such a host belongs to.
#include <algorithm>
#include <map>
#include <set>

#include "core/desired_state.h"
#include "core/text.h"

namespace tg {
namespace {

// Claim is one thing by which a Resource takes hosts: its address, or its alias.
struct Claim {
  const ResourceSpec* resource;
  std::size_t order;      // of its id
  Address address;
  bool touched = true;    // told of; see overlaps
  bool is_alias = false;
};

// first_wins says whether `a` takes the hosts that both mean, by the rules of core/matcher.h.
// `by_age`: nothing but the smaller id decides.
bool first_wins(const Claim& a, const Claim& b, bool& by_age) {
  by_age = false;
  const auto rank = [](const Claim& c) {
    if (c.address.kind() == Address::Kind::network) return c.address.network().prefix();
    return c.address.kind() == Address::Kind::name ? 1000 : c.address.literals();   // a name has at most 253 characters
  };
  if (rank(a) != rank(b)) return rank(a) > rank(b);
  by_age = true;
  return a.order < b.order;
}

std::string shown(const Claim& c) {
  return (c.is_alias ? "alias " : "") + c.address.text() + " of resource " + printable(c.resource->name);
}

class Finder {
 public:
  // `about`: see overlaps; null for all.
  Finder(const DesiredState& state, const std::set<std::string>* about) {
    for (std::size_t i = 0; i < state.resources.size(); ++i) {
      const ResourceSpec& r = state.resources[i];
      const bool touched = about == nullptr || about->contains(r.name);
      add({&r, i, r.address, touched});
      if (r.alias.empty()) continue;
      if (auto alias = Address::parse(r.alias); alias && alias->kind() == Address::Kind::name)
        add({&r, i, *alias, touched, true});
    }
  }

  std::vector<Problem> run() {
    same_names();
    wildcards();
    nested_networks();
    std::stable_sort(out_.begin(), out_.end(),
                     [](const Problem& a, const Problem& b) { return a.place.line < b.place.line; });
    return std::move(out_);
  }

 private:
  void add(Claim c) {
    switch (c.address.kind()) {
      case Address::Kind::name: names_.push_back(std::move(c)); break;
      case Address::Kind::wildcard: wildcards_.push_back(std::move(c)); break;
      case Address::Kind::network: networks_.push_back(std::move(c)); break;
    }
  }

  // warn stands at the one that is further down in the file. A pair is told once, though an alias may overlap as well.
  void warn(const Claim& a, const Claim& b) {
    if (a.resource == b.resource) return;
    if ((!a.touched && !b.touched) || out_.size() >= kOverlapsMost) return;
    const Claim& early = a.order < b.order ? a : b;
    const Claim& late = a.order < b.order ? b : a;
    if (!told_.emplace(early.order, late.order).second) return;
    bool by_age = false;
    const Claim& winner = first_wins(early, late, by_age) ? early : late;
    // Only one of them may stand in the file.
    const bool early_is_here = early.resource->place.line > late.resource->place.line;
    const Claim& here = early_is_here ? early : late;
    const Claim& other = early_is_here ? late : early;
    out_.push_back(
        {here.resource->place, "resource " + printable(here.resource->name) + (here.is_alias ? ": alias" : ": address"),
         shown(here) + " shares hosts with " + shown(other) + "; they belong to " + printable(winner.resource->name) +
             (by_age ? ", the one that was created first" : ", the more exact one")});
  }

  // Of two claims one at least is touched: most often few are.
  void wildcards() {
    const auto of = [](std::vector<Claim>& all) {
      std::vector<const Claim*> out;
      for (const Claim& c : all) {
        if (c.touched) out.push_back(&c);
      }
      return out;
    };
    const std::vector<const Claim*> touched_names = of(names_);
    for (std::size_t i = 0; i < wildcards_.size() && out_.size() < kOverlapsMost; ++i) {
      const Claim& w = wildcards_[i];
      for (std::size_t j = i + 1; j < wildcards_.size(); ++j) {
        if ((w.touched || wildcards_[j].touched) && w.address.overlaps(wildcards_[j].address)) warn(w, wildcards_[j]);
      }
      const auto with_name = [&](const Claim& name) {
        if (w.address.matches(name.address.text())) warn(w, name);
      };
      if (w.touched) {
        for (const Claim& name : names_) with_name(name);
      } else {
        for (const Claim* name : touched_names) with_name(*name);
      }
    }
  }

  void same_names() {
    std::map<std::string_view, std::vector<const Claim*>> by_name;
    for (const Claim& c : names_) by_name[c.address.text()].push_back(&c);
    for (const auto& [name, claims] : by_name) {
      for (std::size_t i = 0; i < claims.size(); ++i) {
        for (std::size_t j = i + 1; j < claims.size(); ++j) warn(*claims[i], *claims[j]);
      }
    }
  }

  // Two networks overlap only when one is in the other, so those that are open around the next one, in order, are all
  // it meets.
  void nested_networks() {
    std::sort(networks_.begin(), networks_.end(), [](const Claim& a, const Claim& b) {
      const Cidr &x = a.address.network(), &y = b.address.network();
      if (x.base().is_v6() != y.base().is_v6()) return y.base().is_v6();
      if (x.base() != y.base()) return x.base() < y.base();
      return x.prefix() != y.prefix() ? x.prefix() < y.prefix() : a.order < b.order;
    });
    std::vector<const Claim*> around;
    for (const Claim& c : networks_) {
      while (!around.empty() && !around.back()->address.overlaps(c.address)) around.pop_back();
      for (const Claim* outer : around) warn(*outer, c);
      around.push_back(&c);
    }
  }

  std::vector<Claim> names_, wildcards_, networks_;
  std::set<std::pair<std::size_t, std::size_t>> told_;
  std::vector<Problem> out_;
};

}  // namespace

std::vector<Problem> overlaps(const DesiredState& state) { return Finder(state, nullptr).run(); }
std::vector<Problem> overlaps(const DesiredState& state, const std::set<std::string>& about) {
  return about.empty() ? std::vector<Problem>() : Finder(state, &about).run();
}

}  // namespace tg
