// The HTTP API where people and programs find it: on the unix socket of the state directory, and over TLS.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmd/controller/api.h"
#include "cmd/controller/web_sign_in.h"
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

  // serve_local answers root, and the user of this process, on a socket of mode 0600 that goes with this. They are owners. Errors:
  // conflict when somebody answers there; io.
  Result<> serve_local(const std::string& path);
  // Web is what is served over TLS alone.
  struct Web {
    std::string root;                  // the certificate of tg's own CA, for who asks
    HostPort self;                     // how people reach it
    bool known_certificate = false;    // browsers know what it shows
    WebSignIn::Means means;
  };
  // serve_web answers whoever shows an API token, or has signed in with a browser.
  void serve_web(net::Fd listener, const net::TlsContext& tls, Web web);
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
  bool for_browsers(const HttpAsked& asked, const net::HttpPeer& from) const;
  HttpReply finished(HttpReply out, const net::HttpPeer& from);
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
  bool known_certificate_ = false;
  std::unique_ptr<WebSignIn> sign_in_;
  std::unique_ptr<net::HttpServer> local_, web_;
  std::vector<Waiting> waiting_;
  net::Timer look_;
  LogQuota lines_;                              // of the log, by address
  std::array<std::uint64_t, 6> answers_{};      // by the first digit of the status
};

}  // namespace tg::controller
