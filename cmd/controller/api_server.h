// The HTTP API where people and programs find it: on the unix socket of the state directory, and over TLS.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmd/controller/api.h"
#include "core/log_quota.h"
#include "core/metrics.h"
#include "net/http_server.h"
#include "net/loop.h"

namespace tg::controller {

class ApiServer {
 public:
  // `news_for` says whether there is something to answer to a question about news.
  ApiServer(net::Loop& loop, Store& store, Api api, std::function<bool(const Json& question)> news_for);
  ~ApiServer();

  // serve_local answers root, and the user of this process, on a socket of mode 0600 that goes with this. They are owners. Errors: conflict when
  // somebody answers there; io.
  Result<> serve_local(const std::string& path);
  // serve_web answers whoever shows an API token. `root`: the certificate of tg's own CA, for who asks.
  void serve_web(net::Fd listener, const net::TlsContext& tls, std::string root);
  void set_context(const net::TlsContext& tls);

  void add_metrics(Metrics& m) const;

 private:
  // Waiting is a request for news that there are not yet.
  struct Waiting {
    HttpAsked asked;
    net::HttpPeer from;
    Json question;
    std::string who;
    Instant until{};
    net::HttpServer::Reply reply;
  };
  using Known = tl::expected<std::optional<Caller>, HttpRefusal>;
  Known identify(const HttpAsked& asked, const net::HttpPeer& from);
  net::HttpServer::Hooks hooks();
  void take(HttpAsked asked, const net::HttpPeer& from, net::HttpServer::Reply reply);
  HttpReply answer(const HttpAsked& asked, const net::HttpPeer& from);
  HttpReply page(const std::string& path) const;
  void look();
  std::size_t waits_of(const std::string& who) const;
  void note(const net::HttpPeer& from, const std::string& who, const std::string& why);

  net::Loop& loop_;
  Store& store_;
  Api api_;
  std::function<bool(const Json&)> news_for_;
  std::string path_;
  std::string root_;
  std::unique_ptr<net::HttpServer> local_, web_;
  std::vector<Waiting> waiting_;
  net::Timer look_;
  LogQuota lines_;                              // of the log, by address
  std::array<std::uint64_t, 6> answers_{};      // by the first digit of the status
};

}  // namespace tg::controller
