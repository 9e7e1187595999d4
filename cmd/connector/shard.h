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
  // Stage is what has become of a tunnel. Each begins and is over, once; `known`: its client has shown who it is.
  enum class Stage { begun, known, over };
  // Tell is called on the thread of the Agent.
  using Tell = std::function<void(std::uint64_t number, Stage stage)>;

  Shard(net::Worker& worker, Session::Common& common, std::vector<Endpoint> dns, Rules rules, Tell tell);

  // take begins the session of a client. `path`: see Session.
  void take(std::uint64_t number, const std::string& path, net::Fd fd, const net::TlsContext& context);
  // drop_stranger ends a session whose client has not shown yet who it is.
  void drop_stranger(std::uint64_t number);
  void set_rules(const Rules& rules);
  void set_servers(std::vector<Endpoint> dns) { resolver_.set_servers(std::move(dns)); }
  void close(Code code);

 private:
  void say(std::uint64_t number, Stage stage);

  net::Worker& worker_;
  Session::Common& common_;
  net::Resolver resolver_;
  Rules rules_;
  Tell tell_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Session>> sessions_;
};

}  // namespace tg::connector
