#include "tests/support/link/options.h"

#include <charconv>
#include <limits>
#include <optional>
#include <span>

#include <fmt/format.h>

namespace tg::link {
namespace {

struct Unit {
  std::string_view name;
  double size;
};
constexpr Unit kTimes[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
constexpr Unit kRates[] = {{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}};
constexpr Unit kSizes[] = {{"kb", 1e3}, {"mb", 1e6}, {"b", 1}};
constexpr Unit kShares[] = {{"%", 0.01}, {"", 1}};

// number reads "2.5ms": a number that is not negative, and one of the units right behind it.
std::optional<double> number(std::string_view text, std::span<const Unit> units) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || text.starts_with('-')) return std::nullopt;
  const std::string_view name(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    value *= unit.size;
    return value < 1e18 ? std::optional(value) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<double> time(std::string_view text) { return text == "0" ? 0.0 : number(text, kTimes); }

// Queue is as written: a share of a second at the rate, which may be told later, or bytes.
struct Queue {
  double value = 20e6;
  bool time = true;
};

struct Way {
  LinkOptions options;
  Queue queue;

  bool set(std::string_view name, std::string_view text);
  LinkOptions whole() const;
};

bool Way::set(std::string_view name, std::string_view text) {
  const auto duration = [&](Duration& to) {
    const auto value = time(text);
    if (value) to = Duration(static_cast<Duration::rep>(*value));
    return value.has_value();
  };
  const auto share = [&](double& to) {
    const auto value = number(text, kShares);
    if (value) to = *value;
    return value && *value <= 1;
  };
  if (name == "--delay") return duration(options.delay);
  if (name == "--jitter") return duration(options.jitter);
  if (name == "--late") return duration(options.late);
  if (name == "--loss") return share(options.loss);
  if (name == "--reorder") return share(options.reorder);
  if (name == "--rate") {
    const auto value = number(text, kRates);
    if (value) options.rate = static_cast<std::uint64_t>(*value);
    return value && options.rate > 0;
  }
  if (name == "--queue") {
    if (const auto bytes = number(text, kSizes)) {
      queue = {*bytes, false};
      return true;
    }
    const auto value = time(text);
    if (value) queue = {*value, true};
    return value.has_value();
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), options.seed);   // --seed
  return error == std::errc{} && end == text.data() + text.size();
}

LinkOptions Way::whole() const {
  LinkOptions out = options;
  out.queue = static_cast<std::uint64_t>(queue.time ? queue.value * static_cast<double>(options.rate) / 8e9 : queue.value);
  return out;
}

bool is_option(std::string_view word) {
  for (const auto name : {"--delay", "--jitter", "--rate", "--queue", "--loss", "--reorder", "--late", "--seed"}) {
    if (word == name) return true;
  }
  return false;
}

}  // namespace

Result<CommandLine> parse_command_line(const std::vector<std::string_view>& words) {
  std::array<Way, 2> ways;
  std::vector<std::string_view> interfaces;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (!word.starts_with('-')) {
      interfaces.push_back(word);
      continue;
    }
    if (!is_option(word)) return fail(Errc::invalid_argument, fmt::format("unknown option {}", word));
    if (i + 1 == words.size()) return fail(Errc::invalid_argument, fmt::format("{} wants a value", word));
    const std::string_view value = words[++i];
    const std::size_t comma = value.find(',');
    const std::string_view there = value.substr(0, comma);
    const std::string_view back = comma == value.npos ? there : value.substr(comma + 1);
    if (!ways[0].set(word, there) || !ways[1].set(word, back)) {
      return fail(Errc::invalid_argument, fmt::format("{} does not take \"{}\"", word, value));
    }
  }
  if (interfaces.size() != 2) return fail(Errc::invalid_argument, "two interfaces are wanted");
  CommandLine out{.interfaces = {std::string(interfaces[0]), std::string(interfaces[1])},
                  .ways = {ways[0].whole(), ways[1].whole()}};
  // One seed is enough for two directions that have nothing to do with each other.
  if (out.ways[0].seed == out.ways[1].seed) out.ways[1].seed ^= std::uint64_t{1} << 63;
  return out;
}

}  // namespace tg::link
