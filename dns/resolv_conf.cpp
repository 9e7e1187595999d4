#include "dns/resolv_conf.h"

#include <algorithm>
#include <charconv>

namespace tg::dns {
namespace {

constexpr std::string_view kMark = "# tg wrote this file";
constexpr std::string_view kMarkRest =
    ": its resolvers come before the system's own. \"tg client down\" puts the file back as it was.\n";

// words cuts a line at blanks and ends it at a comment.
std::vector<std::string_view> words(std::string_view line) {
  constexpr std::string_view kBlank = " \t\r\v\f";
  std::vector<std::string_view> out;
  while (true) {
    const auto from = line.find_first_not_of(kBlank);
    if (from == line.npos || line[from] == '#' || line[from] == ';') return out;
    line.remove_prefix(from);
    const auto size = std::min(line.find_first_of(kBlank), line.size());
    out.push_back(line.substr(0, size));
    line.remove_prefix(size);
  }
}

bool is_link_local(const IpAddress& a) { return a.is_v6() && a.bytes()[0] == 0xFE && (a.bytes()[1] & 0xC0) == 0x80; }

std::optional<IpAddress> address_of(std::string_view text) {
  const auto zone = text.find('%');
  const auto parsed = IpAddress::parse(text.substr(0, zone));
  if (!parsed) return std::nullopt;
  if (is_link_local(*parsed) || (zone != text.npos && parsed->is_v4())) return std::nullopt;
  return *parsed;
}

int number(const std::vector<std::string>& options, std::string_view name, int otherwise, int most) {
  int value = otherwise;
  for (const std::string_view option : options) {
    if (!option.starts_with(name)) continue;
    const std::string_view digits = option.substr(name.size());
    int read = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), read);
    if (error == std::errc::result_out_of_range) read = most;
    else if (error != std::errc{} || end == digits.data() || read < 0) continue;
    value = std::min(read, most);
  }
  return value;
}

void line(std::string& out, std::string_view keyword, const std::vector<std::string>& values) {
  if (values.empty()) return;
  out += keyword;
  for (const auto& value : values) out.append(" ").append(value);
  out += '\n';
}

}  // namespace

ResolvConf ResolvConf::parse(std::string_view text) {
  ResolvConf out;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view whole = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (whole.empty() || whole[0] == ' ' || whole[0] == '\t') continue;   // a keyword stands in the first column
    const auto parts = words(whole);
    if (parts.size() < 2) continue;
    const auto values = std::vector<std::string>(parts.begin() + 1, parts.end());
    if (parts[0] == "nameserver") out.nameservers.push_back({values[0], address_of(values[0])});
    else if (parts[0] == "search") out.search = values;
    else if (parts[0] == "domain") out.search = {values[0]};
    else if (parts[0] == "sortlist") out.sortlist = values;
    else if (parts[0] == "options") out.options.insert(out.options.end(), values.begin(), values.end());
  }
  return out;
}

std::vector<IpAddress> ResolvConf::servers() const {
  std::vector<IpAddress> out;
  for (const auto& server : nameservers) {
    if (!server.address || std::find(out.begin(), out.end(), *server.address) != out.end()) continue;
    const IpAddress plain = server.address->unmapped();
    if (plain.is_v4() && std::find(kOwnResolvers.begin(), kOwnResolvers.end(), plain.v4()) != kOwnResolvers.end()) continue;
    out.push_back(*server.address);
  }
  return out;
}

int ResolvConf::ndots() const { return number(options, "ndots:", 1, 15); }
int ResolvConf::timeout() const { return number(options, "timeout:", 5, 30); }
int ResolvConf::attempts() const { return number(options, "attempts:", 2, 5); }

std::string ResolvConf::to_string() const {
  std::string out;
  for (const auto& server : nameservers) out.append("nameserver ").append(server.text).append("\n");
  line(out, "search", search);
  line(out, "sortlist", sortlist);
  line(out, "options", options);
  return out;
}

std::string replacement(const ResolvConf& previous, std::span<const Ipv4> own) {
  ResolvConf conf = previous;
  std::erase_if(conf.nameservers, [&](const ResolvConf::Nameserver& server) {
    return server.address && server.address->is_v4() && std::find(own.begin(), own.end(), server.address->v4()) != own.end();
  });
  std::vector<ResolvConf::Nameserver> first;
  for (const Ipv4 address : own) first.push_back({IpAddress(address).to_string(), IpAddress(address)});
  conf.nameservers.insert(conf.nameservers.begin(), first.begin(), first.end());
  return std::string(kMark).append(kMarkRest) + conf.to_string();
}

bool is_ours(std::string_view text) noexcept { return text.starts_with(kMark); }

}  // namespace tg::dns
