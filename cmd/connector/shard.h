// What one worker of a connector has: the sessions of some clients, and what these need for themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cmd/connector/session.h"
#include "net/workers.h"

namespace tg::connector {

// Shard lives on its worker's thread. Of other shards it knows nothing: what they have in common is in Common.
class Shard {
 public:
  // `settled` is told, on the thread of the Agent, that a client has shown who it is, or that its tunnel is over.
  using Settled = std::function<void(std::uint64_t number, bool over)>;

  Shard(net::Worker& worker, Session::Common& common, std::vector<Endpoint> dns, Rules rules, Settled settled);

  // take begins the session of a client. `path`: see Session.
  void take(std::uint64_t number, const std::string& path, net::Fd fd, const net::TlsContext& context);
  // drop_stranger ends a session whose client has not shown yet who it is.
  void drop_stranger(std::uint64_t number);
  void set_rules(const Rules& rules);
  void set_servers(std::vector<Endpoint> dns) { resolver_.set_servers(std::move(dns)); }
  void close(Code code);

 private:
  void tell(std::uint64_t number, bool over);

  net::Worker& worker_;
  Session::Common& common_;
  net::Resolver resolver_;
  Rules rules_;
  Settled settled_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Session>> sessions_;
};

}  // namespace tg::connector
