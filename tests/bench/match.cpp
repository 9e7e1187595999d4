// How long it takes to find the Resource of a name or of an address, and the memory for that.
//
//   bench_match RESOURCES
//
// Half of the Resources are exact names of 30 or 55 bytes, a tenth each "*.zone" and "pre-*.zone", the rest IPv4 networks: /24, /28 and single ones.
// What is asked for is in the processor's caches, as what was just received is; what is found is not. It prints one line of JSON:
// medians, in nanoseconds, without what looking at the clock takes.
#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/matcher.h"
#include "net/memory.h"

namespace tg::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kAsked = 200'000;     // of each kind at most
constexpr std::size_t kForeign = 100'000;   // names of nobody's, and addresses

double nanoseconds(Clock::duration d) { return std::chrono::duration<double, std::nano>(d).count(); }

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return values.empty() ? 0 : *middle;
}

std::size_t allocated() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

std::string address_of(std::size_t i, std::mt19937_64& random) {
  const std::string number = std::to_string(i);
  if (i % 2 == 0) {
    const std::string zone = i % 8 == 0 ? ".eu-central-1.compute" : "";
    return "host" + std::to_string(random() % 100'000'000) + ".dept" + std::to_string(i % 1000) + zone + ".corp.internal";
  }
  if (i % 10 == 1) return "*.zone" + number + ".corp.internal";
  if (i % 10 == 3) return "db-*.team" + number + ".corp.internal";
  const Ipv4 address{0x0A000000u + static_cast<std::uint32_t>(random() & 0xFFFFFF)};
  const int length = i % 20 == 5 ? 24 : i % 20 == 7 ? 28 : 32;
  return Cidr(IpAddress(address), length).to_string();
}

// measure returns the median over `asked`. All that is found is added up, so that nothing is left out by the compiler.
template <class Asked>
double measure(const Matcher& matcher, const std::vector<Asked>& asked, std::size_t& found) {
  std::vector<double> took, clock;
  for (const Asked& one : asked) {
    const Asked hot = one;
    const auto began = Clock::now();
    found += matcher.find(hot) != nullptr;
    const auto ended = Clock::now();
    took.push_back(nanoseconds(ended - began));
    clock.push_back(nanoseconds(Clock::now() - ended));
  }
  return median(took) - median(clock);
}

int run(std::size_t count) {
  std::mt19937_64 random(7);      // the same each time
  std::vector<Resource> resources;
  std::vector<std::string> exact, wildcard, foreign;
  std::vector<IpAddress> addresses;
  for (std::size_t i = 0; i < count; ++i) {
    Resource r;
    r.id = i + 1;
    auto address = Address::parse(address_of(i, random));
    TG_CHECK(address);
    r.address = std::move(*address);
    std::string text = r.address.text();
    switch (r.address.kind()) {
      case Address::Kind::name: exact.push_back(text); break;
      case Address::Kind::wildcard: wildcard.push_back(text.replace(text.find('*'), 1, std::to_string(random() % 1000))); break;
      case Address::Kind::network: addresses.push_back(r.address.network().base()); break;
    }
    resources.push_back(std::move(r));
  }
  for (std::size_t i = 0; i < kForeign; ++i) {
    foreign.push_back("www.example" + std::to_string(random() % 100'000) + ".com");
    addresses.push_back(IpAddress(Ipv4{static_cast<std::uint32_t>(random())}));
  }
  for (auto* names : {&exact, &wildcard, &foreign}) {
    std::shuffle(names->begin(), names->end(), random);
    names->resize(std::min(names->size(), kAsked));
  }
  std::shuffle(addresses.begin(), addresses.end(), random);
  addresses.resize(std::min(addresses.size(), kAsked));

  const std::size_t before = allocated();
  const Matcher matcher(std::move(resources));
  const std::size_t index = allocated() - before;
  std::size_t found = 0;
  Json out = {{"resources", count}, {"bytes", static_cast<double>(index) / static_cast<double>(count)}};
  out["exact"] = measure(matcher, exact, found);
  out["wildcard"] = measure(matcher, wildcard, found);
  out["foreign"] = measure(matcher, foreign, found);
  out["address"] = measure(matcher, addresses, found);
  std::vector<std::string> names;
  for (const auto* kind : {&exact, &wildcard, &foreign}) names.insert(names.end(), kind->begin(), kind->end());
  std::shuffle(names.begin(), names.end(), random);
  out["name"] = measure(matcher, names, found);
  out["found"] = found;
  std::puts(out.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace tg::bench

int main(int argc, char** argv) {
  const std::string_view text = argc == 2 ? argv[1] : "";
  std::size_t count = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (wrong != std::errc() || end != text.data() + text.size() || count == 0) {
    std::fputs("usage: bench_match RESOURCES\n", stderr);
    return 2;
  }
  tg::net::use_huge_pages();   // as tg does
  return tg::bench::run(count);
}
