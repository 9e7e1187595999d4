#include "dns/servers.h"

#include <algorithm>

namespace tg::dns {

void Servers::set(std::vector<Endpoint> servers) {
  std::vector<Server> fresh;
  for (const Endpoint& e : servers) {
    if (std::any_of(fresh.begin(), fresh.end(), [&](const Server& s) { return s.endpoint == e; })) continue;
    const Server* known = find(e);
    fresh.push_back(known ? *known : Server{e});
  }
  servers_ = std::move(fresh);
}

std::vector<Endpoint> Servers::order(Instant now) const {
  std::vector<Endpoint> out;
  for (const bool silent : {false, true}) {
    for (const Server& s : servers_) {
      if ((now < s.silent_until) == silent) out.push_back(s.endpoint);
    }
  }
  return out;
}

void Servers::silent(const Endpoint& server, Instant now) {
  Server* s = find(server);
  if (s && ++s->silences >= kSilences) s->silent_until = now + kSilentFor;
}
void Servers::answered(const Endpoint& server) {
  Server* s = find(server);
  if (!s) return;
  s->silences = 0;
  s->silent_until = Instant::min();
}
void Servers::set_without_edns(const Endpoint& server) {
  if (Server* s = find(server)) s->without_edns = true;
}
bool Servers::without_edns(const Endpoint& server) const {
  const Server* s = find(server);
  return s && s->without_edns;
}
void Servers::set_changes_case(const Endpoint& server) {
  if (Server* s = find(server)) s->changes_case = true;
}
bool Servers::changes_case(const Endpoint& server) const {
  const Server* s = find(server);
  return s && s->changes_case;
}

Servers::Server* Servers::find(const Endpoint& server) {
  const auto it = std::find_if(servers_.begin(), servers_.end(), [&](const Server& s) { return s.endpoint == server; });
  return it == servers_.end() ? nullptr : &*it;
}
const Servers::Server* Servers::find(const Endpoint& server) const {
  const auto it = std::find_if(servers_.begin(), servers_.end(), [&](const Server& s) { return s.endpoint == server; });
  return it == servers_.end() ? nullptr : &*it;
}

}  // namespace tg::dns
