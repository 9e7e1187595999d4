#include "cmd/system_dns.h"

#include <fmt/format.h>

#include "dns/resolv_conf.h"
#include "net/files.h"
#include "net/resolver.h"

namespace tg::cmd {

std::vector<Endpoint> system_dns() {
  std::vector<Endpoint> out;
  if (const auto text = net::read_file("/etc/resolv.conf")) {
    for (const IpAddress& ip : dns::ResolvConf::parse(*text).servers()) out.push_back({ip, 53});
  }
  if (out.empty()) out.push_back({IpAddress(Ipv4{0x7F000001}), 53});
  return out;
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
