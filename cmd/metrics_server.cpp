#include "cmd/metrics_server.h"

#include <fmt/format.h>

#include "net/process_metrics.h"

namespace tg::cmd {

void add_metrics_option(Command command, std::string& listen) {
  command.add_option("--metrics", listen, "Answer GET /metrics, /livez and /readyz here, to whoever can connect (default: nowhere)")
      .type_name("IP:PORT");
}

void add_relay_metrics(Metrics& m, const net::Relay& relay) {
  m.gauge("tg_relay_connectors", "Connectors that wait at the relay.").add(std::uint64_t{relay.connectors()});
  m.gauge("tg_relay_connections", "Connections between clients and connectors that are passed on.").add(std::uint64_t{relay.joined()});
  const auto counts = relay.counts();
  m.gauge("tg_relay_threads", "Threads that pass them on; they start when there are connections.").add(relay.counts().threads);
  m.counter("tg_relay_connections_total", "Connections that were passed on, ever.").add(counts.joined);
  m.counter("tg_relay_bytes_total", "Bytes of ciphertext that were passed on, both ways.").add(counts.bytes);
}

HttpReply answer_probe(const HttpAsked& asked, const Probed& probed) {
  HttpReply out;
  if (asked.path != "/metrics" && asked.path != "/livez" && asked.path != "/readyz") {
    out.status = 404;
    out.body = "there are /metrics, /livez and /readyz here\n";
    return out;
  }
  if (asked.method != "GET" && asked.method != "HEAD") {
    out.status = 405;
    out.headers.emplace_back("Allow", "GET, HEAD");
    out.body = "only GET and HEAD are answered here\n";
    return out;
  }
  out.headers.emplace_back("Cache-Control", "no-store");
  if (asked.path == "/livez") {   // that it is answered says it all
    out.body = "alive\n";
    return out;
  }
  const std::string not_ready = probed.not_ready();
  if (asked.path == "/readyz") {
    out.status = not_ready.empty() ? 200 : 503;
    out.body = not_ready.empty() ? "ready\n" : "not ready: " + not_ready + "\n";
    return out;
  }
  Metrics m;
  m.gauge("tg_build_info", "The version that runs.").add(1.0, {{"version", TG_VERSION}, {"role", probed.role}});
  m.gauge("tg_ready", "Whether /readyz says so.").add(not_ready.empty());
  probed.metrics(m);
  net::add_process_metrics(m);
  out.content_type = "text/plain; version=0.0.4; charset=utf-8";
  out.body = m.text();
  return out;
}

Result<std::unique_ptr<net::HttpServer>> serve_metrics(net::Loop& loop, const std::string& listen, Probed probed) {
  if (listen.empty()) return std::unique_ptr<net::HttpServer>();
  const auto at = Endpoint::parse(listen);
  if (!at) return fail(Errc::invalid_argument, fmt::format("--metrics {}: {}", listen, at.error().text));
  auto fd = net::tcp_listen(*at);
  if (!fd) return fail(fd.error().code, fd.error().text + "; see --metrics");
  net::HttpServer::Hooks hooks;
  hooks.body_limit = [](const HttpAsked&, const net::HttpPeer&) { return std::size_t{0}; };
  hooks.answer = [probed = std::move(probed)](const HttpAsked& asked, const net::HttpPeer&, const net::HttpServer::Reply& reply) {
    reply(answer_probe(asked, probed));
  };
  hooks.refused = [](const HttpRefusal& r) { return HttpReply{r.status, "text/plain; charset=utf-8", r.text + "\n", {}}; };
  return std::make_unique<net::HttpServer>(loop, std::move(*fd), std::nullopt, std::move(hooks));
}

}  // namespace tg::cmd
