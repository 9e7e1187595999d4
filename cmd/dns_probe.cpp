#include "cmd/dns_probe.h"

#include "core/json.h"
#include "net/dns_sockets.h"

namespace tg::cmd {

Json to_json(const DnsHealth& h) {
  Json out = {{"server", h.server.to_string()}, {"tcp", h.tcp}, {"answers", h.took.has_value()}};
  if (!h.took) return out;
  out["ms"] = std::chrono::duration<double, std::milli>(*h.took).count();
  out["rcode"] = dns::rcode_text(h.rcode);
  return out;
}

struct DnsProbe::State {
  std::vector<DnsHealth> found;
  std::vector<std::unique_ptr<net::Forwarder>> asking;
  std::size_t left = 0;
  std::function<void(std::vector<DnsHealth>)> done;
  net::Timer nobody;

  void finish() {
    const auto call = std::move(done);
    call(std::move(found));   // may destroy this
  }
};

DnsProbe::DnsProbe(net::Loop& loop, const std::vector<Endpoint>& servers, const dns::Question& question, bool tcp,
                   Duration patience, std::function<void(std::vector<DnsHealth>)> done)
    : state_(std::make_unique<State>()) {
  State* s = state_.get();
  s->done = std::move(done);
  s->left = servers.size();
  s->nobody = net::Timer(loop, [s] { s->finish(); });
  if (servers.empty()) s->nobody.after(Duration::zero());
  const Instant asked = net::Loop::now();
  for (std::size_t i = 0; i < servers.size(); ++i) {
    s->found.push_back({servers[i], tcp, std::nullopt, 0});
    dns::Forwarder::Config config;
    config.servers = {servers[i]};
    config.total = patience;
    s->asking.push_back(std::make_unique<net::Forwarder>(loop, std::move(config)));
    const auto id = static_cast<std::uint16_t>(net::random_u32());
    const Buffer query = dns::make_query(id, question).encode();
    s->asking.back()->forward(query, tcp, [s, i, asked](const Buffer& reply, auto server) {
      if (server && reply.size() >= dns::kHeaderSize) {
        s->found[i].took = net::Loop::now() - asked;
        s->found[i].rcode = reply[3] & 15;
      }
      if (--s->left == 0) s->finish();
    });
  }
}

DnsProbe::~DnsProbe() = default;

}  // namespace tg::cmd
