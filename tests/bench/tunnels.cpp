// Simulated clients for the bench of a connector's threads. Each is let in with a token of its own, hears from the controller as a
// real one does, and has a direct tunnel to the connector with one UDP flow. All are in one thread that does little else than
// seal what was made before: what is measured is the connector.
//
//   bench_tunnels STATE HOST PORT TOKEN…
//
// It says {"event":"ready"} when all flows are open. Then, for each line "send SECONDS" on stdin, all send datagrams of 64 bytes,
// as many as their tunnels take, and {"event":"sent","datagrams":N,"seconds":S} follows. It ends with its stdin.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmd/agent_identity.h"
#include "cmd/controller_link.h"
#include "cmd/system_dns.h"
#include "core/json.h"
#include "net/resolver.h"
#include "net/tunnel_link.h"

namespace tg::bench {
namespace {

constexpr std::chrono::seconds kPatience(30);
constexpr std::size_t kPayload = 64;      // bytes of a datagram
constexpr int kAtOnce = 1024;             // datagrams of one tunnel before it is another's turn
constexpr Duration kFull = std::chrono::microseconds(500);   // to look again when no tunnel takes any

void tell(const Json& event) {
  std::puts(event.dump().c_str());
  std::fflush(stdout);
}

[[noreturn]] void give_up(const std::string& why) {
  tell({{"event", "failed"}, {"text", why}});
  std::_Exit(1);
}

// Client opens one UDP flow to HOST:PORT, in the Resource that the controller tells it of.
class Client final : public TunnelHandler {
 public:
  Client(net::Loop& loop, cmd::AgentIdentity identity, OpenRequest request, std::function<void()> opened)
      : loop_(loop), identity_(std::move(identity)), request_(std::move(request)), opened_(std::move(opened)) {
    request_.protocol = Protocol::udp;
    controller_ = std::make_unique<cmd::ControllerLink>(
        loop_, identity_, net::resolve_with(resolver_), [] { return Json::object(); },
        cmd::ControllerLink::Callbacks{[this] { view_changed(); }, [] {}});
  }

  // send sends datagrams until the tunnel takes no more, or there were many. Returns how many.
  std::uint64_t send() {
    std::uint64_t sent = 0;
    const std::array<std::uint8_t, kPayload> payload{};
    while (sent < kAtOnce && link_->tunnel().datagram(stream_, payload)) ++sent;
    if (sent > 0) link_->kick();
    return sent;
  }

 private:
  void view_changed() {
    if (link_) return;
    std::optional<ConnectorInfo> connector;
    std::string grant;
    for (const auto& [key, item] : controller_->view()) {
      if (key.starts_with("grant/")) grant = item.get<std::string>();
      if (auto found = connector_from_json(item); key.starts_with("connector/") && found) connector = std::move(*found);
      if (auto found = resource_from_json(item); key.starts_with("resource/") && found) request_.resource = found->id;
    }
    if (!connector || connector->direct.empty() || grant.empty() || request_.resource == 0) return;   // more is to come
    auto at = Endpoint::parse(connector->direct.front());
    auto fd = at ? net::tcp_connect(*at) : tl::unexpected(at.error());
    auto context = identity_.client_context(net::kAlpnTunnel);
    if (!fd || !context) give_up("the connector cannot be reached");
    link_ = std::make_unique<net::TunnelLink>(
        loop_, std::move(*fd), *context, Tunnel::Side::client, *this,
        net::TunnelLink::Callbacks{[this, grant] {
                                     link_->tunnel().send_grant(grant);
                                     const auto stream = link_->tunnel().open(request_);
                                     if (!stream) give_up(stream.error().text);
                                     stream_ = *stream;
                                     link_->kick();
                                   },
                                   [](const Error& e) { give_up("a tunnel ended: " + e.text); }},
        std::string(), net::to_uri({identity_.self().network, "connector", connector->id, {}, {}, {}}));
  }

  void on_opened(StreamId) override { opened_(); }
  void on_reset(StreamId, Code code) override { give_up(fmt::format("a flow ended: {}", to_string(code))); }
  void on_goaway(Code code) override { give_up(fmt::format("a connector said goodbye: {}", to_string(code))); }
  void on_grant(std::string_view) override {}
  void on_open(StreamId, const OpenRequest&) override {}
  void on_query(StreamId, const Query&) override {}
  void on_answer(StreamId, std::uint8_t, Bytes) override {}
  void on_data(StreamId, Bytes) override {}
  void on_fin(StreamId) override {}
  void on_datagram(StreamId, Bytes) override {}
  void on_echo(StreamId, const Echo&) override {}
  Pull pull(StreamId, MutBytes) override { return {}; }

  net::Loop& loop_;
  cmd::AgentIdentity identity_;
  OpenRequest request_;
  std::function<void()> opened_;
  net::Resolver resolver_{loop_, std::vector<Endpoint>()};
  std::unique_ptr<cmd::ControllerLink> controller_;
  std::unique_ptr<net::TunnelLink> link_;
  StreamId stream_ = 0;
};

class Clients {
 public:
  Clients(std::string state, OpenRequest request, const std::vector<std::string>& tokens) {
    for (const std::string& token : tokens) {
      const std::string folder = fmt::format("{}/{}", state, clients_.size());
      std::filesystem::create_directories(folder);
      auto identity = cmd::AgentIdentity::obtain(folder, token, Token::Role::device, cmd::resolver_for({}), kPatience);
      if (!identity) give_up(identity.error().text);
      clients_.push_back(std::make_unique<Client>(loop_, std::move(*identity), request, [this] { opened(); }));
    }
    patience_ = net::Timer(loop_, [] { give_up("not all flows are open in time"); });
    patience_.after(kPatience);
    send_ = net::Timer(loop_, [this] { send(); });
    input_ = net::Watch(loop_, STDIN_FILENO, [this] { read(); });
  }
  void run() { loop_.run(); }

 private:
  void opened() {
    if (++open_ < clients_.size()) return;
    patience_.cancel();
    input_.want_read(true);
    tell({{"event", "ready"}});
  }

  void read() {
    char line[64];
    const ssize_t n = ::read(STDIN_FILENO, line, sizeof line);
    if (n <= 0) return loop_.stop();
    const std::string_view said(line, static_cast<std::size_t>(n));
    int seconds = 0;
    if (!said.starts_with("send ") || std::from_chars(line + 5, line + n, seconds).ec != std::errc()) give_up("what?");
    began_ = net::Loop::now();
    until_ = began_ + std::chrono::seconds(seconds);
    sent_ = 0;
    send();
  }

  void send() {
    const Instant now = net::Loop::now();
    if (now >= until_) {
      tell({{"event", "sent"}, {"datagrams", sent_}, {"seconds", std::chrono::duration<double>(now - began_).count()}});
      return;
    }
    std::uint64_t taken = 0;
    for (const auto& c : clients_) taken += c->send();
    sent_ += taken;
    if (taken > 0) loop_.post([this] { send(); });
    else send_.after(kFull);
  }

  net::Loop loop_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::size_t open_ = 0;
  std::uint64_t sent_ = 0;
  Instant began_{}, until_{};
  net::Timer patience_, send_;
  net::Watch input_;
};

}  // namespace
}  // namespace tg::bench

int main(int argc, char** argv) {
  using namespace tg;
  if (argc < 5) return std::fputs("bench_tunnels STATE HOST PORT TOKEN…\n", stderr), 2;
  OpenRequest request;
  request.host = argv[2];
  request.port = static_cast<std::uint16_t>(std::atoi(argv[3]));
  bench::Clients clients(argv[1], request, {argv + 4, argv + argc});
  clients.run();
  return 0;
}
