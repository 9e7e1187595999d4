#include "cmd/system_dns.h"

#include <fmt/format.h>

#include "dns/resolv_conf.h"
#include "net/files.h"
#include "net/resolver.h"

namespace tg::cmd {

namespace {

constexpr const char* kResolvConf = "/etc/resolv.conf";

std::string file_text() { return net::read_file(kResolvConf).value_or(""); }

std::vector<Endpoint> named_in(std::string_view text) {
  std::vector<Endpoint> out;
  for (const IpAddress& ip : dns::ResolvConf::parse(text).servers()) out.push_back({ip, 53});
  return out;
}

}  // namespace

std::vector<Endpoint> servers_of(std::string_view text) {
  auto out = named_in(text);
  if (out.empty()) out.push_back({IpAddress(Ipv4{0x7F000001}), 53});
  return out;
}

std::vector<Endpoint> system_dns() { return servers_of(file_text()); }

std::string servers_text(const std::vector<Endpoint>& servers) {
  std::string out;
  for (const Endpoint& e : servers) out += (out.empty() ? "" : ", ") + e.to_string();
  return out;
}

FollowDns::FollowDns(net::Loop& loop, std::vector<Endpoint> now, std::function<void(std::vector<Endpoint>)> changed, Read read)
    : now_(std::move(now)), changed_(std::move(changed)), read_(read ? std::move(read) : file_text),
      timer_(loop, [this] { look(); }) {
  timer_.after(kEvery);
}

void FollowDns::look() {
  timer_.after(kEvery);
  auto found = named_in(read_());
  if (found.empty() || found == now_) return;
  now_ = std::move(found);
  changed_(now_);
}

Result<std::vector<Endpoint>> parse_dns(const std::vector<std::string>& texts) {
  if (texts.empty()) return system_dns();
  std::vector<Endpoint> out;
  for (const std::string& text : texts) {
    auto server = Endpoint::parse(text, 53);
    if (!server) return fail(Errc::invalid_argument, fmt::format("--dns {}: {}", text, server.error().text));
    out.push_back(*server);
  }
  return out;
}

MakeResolver resolver_for(std::vector<Endpoint> servers) {
  return [servers = std::move(servers)](net::Loop& loop) -> net::ResolveHost {
    auto resolver = std::make_shared<net::Resolver>(loop, servers);
    return [resolver](const std::string& name, auto callback) { resolver->resolve_host(name, std::move(callback)); };
  };
}

}  // namespace tg::cmd
