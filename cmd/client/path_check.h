// One connection to one of tg's own servers, made to see whether and how fast it works.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/ip.h"
#include "net/dial.h"
#include "net/tls.h"

namespace tg::client {

// PathResult says how far the connection came. `problem` is empty when it came to the end.
struct PathResult {
  enum class Stage { connect, tls, answer, done };
  Stage stage = Stage::connect;       // what was under way when it ended
  std::optional<Error> problem;
  Endpoint peer;                      // the address that answered
  Duration connect{};                 // TCP: a round trip
  Duration handshake{};               // TLS: a round trip and the arithmetic
  Duration answer{};
  Buffer heard;                       // what came as an answer
};

// PathCheck dials, shakes hands, and when there is something to ask, asks it once. Destroying it cancels.
class PathCheck {
 public:
  struct Config {
    HostPort to;
    net::ResolveHost resolve;
    std::optional<net::TlsContext> context;
    std::string server_name;          // SNI
    std::string expect_uri;           // of the peer; "" for any of `expect_role`
    std::string expect_role;
    Buffer ask;
    // whole says whether this much is the whole answer.
    std::function<bool(Bytes)> whole;
    Duration patience{};
  };

  // `done` is called once, from the Loop. It may destroy the PathCheck.
  PathCheck(net::Loop& loop, Config config, std::function<void(PathResult)> done);
  ~PathCheck();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg::client
