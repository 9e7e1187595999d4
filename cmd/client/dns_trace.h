// What the client's DNS answers to one question, and why: what `tg client dns` asks of the running client.
#pragma once

#include "cmd/client/dns_server.h"
#include "net/local_socket.h"

namespace tg::client {

// trace_dns has `server` serve a question as an application's, and replies once, at most 5 s later:
//
//   {"type":"dns", "name":"nas.home.int", "qtype":1}
//   {"type":"dns", "name", "qtype", "by", "rule", "resource", "network", "local", "servers", "rcode", "flags",
//   "records"}
//
// "by" is tg, connector or server; "rule" one sentence; "records" those of the answer section, each with its text.
void trace_dns(DnsServer& server, const Targets& targets, const std::vector<Endpoint>& upstream, const Json& request,
               const net::LocalServer::Reply& reply);

}  // namespace tg::client
