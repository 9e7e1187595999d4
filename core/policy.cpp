#include "core/policy.h"

namespace tg {

const Resource* Policy::winner(const Grant& grant, const Host& host) const {
  return granted_winner(matcher_, host, [&](const Resource& r) { return grant.covers(r.id) || grant.withholds(r.id); });
}

Policy::Decision Policy::decide(const Grant& grant, ResourceId claimed, const std::string& text) const {
  const auto host = parse_host(text);
  if (!host) return {};
  const Resource* r = winner(grant, *host);
  if (r == nullptr || r->id != claimed || grant.withholds(r->id)) return {};
  const auto* name = std::get_if<std::string>(&*host);
  return {Code::none, r, name != nullptr ? target_host(*r, *name) : to_string(*host)};
}

Policy::Decision Policy::decide(const Grant& grant, const OpenRequest& request) const {
  Decision d = decide(grant, request.resource, request.host);
  if (d.code == Code::none && !d.resource->protocols.allow(request.protocol, request.port)) d.code = Code::port_not_allowed;
  return d;
}

Policy::Decision Policy::decide(const Grant& grant, const Query& query) const {
  return decide(grant, query.resource, query.name);
}

bool Policy::names(const Grant& grant, const IpAddress& ip, Protocol protocol, std::uint16_t port) const {
  const Resource* r = winner(grant, Host(ip));
  return r != nullptr && !grant.withholds(r->id) && r->address.network().single() && r->protocols.allow(protocol, port);
}

}  // namespace tg
