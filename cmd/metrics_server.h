// --metrics: GET /metrics, /livez and /readyz of one running role.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cmd/declare.h"
#include "core/metrics.h"
#include "net/http_server.h"
#include "net/relay.h"

namespace tg::cmd {

// Probed is what is asked of a role.
struct Probed {
  std::string role;
  std::function<void(Metrics&)> metrics;
  std::function<std::string()> not_ready;   // why it cannot do its work now; "" when it can
};

void add_metrics_option(Command command, std::string& listen);

// serve_metrics answers at `listen` ("IP:PORT") until what it returns is destroyed; null where that is "". Whoever can connect may
// read. Errors name the option: invalid_argument, conflict when the port is taken.
Result<std::unique_ptr<net::HttpServer>> serve_metrics(net::Loop& loop, const std::string& listen, Probed probed);

// add_relay_metrics adds what a relay does, be it its own or the controller's.
void add_relay_metrics(Metrics& m, const net::Relay& relay);

// answer_probe is the answer to one request. Pure but for what `probed` reads.
HttpReply answer_probe(const HttpAsked& asked, const Probed& probed);

}  // namespace tg::cmd
