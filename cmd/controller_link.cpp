#include "cmd/controller_link.h"

#include "core/text.h"
#include "net/files.h"
#include "net/log.h"

namespace tg::cmd {
namespace {

constexpr Duration kPingEvery = std::chrono::seconds(10);
constexpr Duration kPingPatience = std::chrono::seconds(5);
constexpr Duration kRenewalCheck = std::chrono::seconds(60);

}  // namespace

struct ControllerLink::State {
  net::Loop& loop;
  AgentIdentity& identity;
  std::function<Json()> hello;
  Callbacks callbacks;
  std::unique_ptr<net::ControlStream> stream{};
  View view{};
  std::string problem = "not connected yet";
  bool up = false;
  bool refused = false;
  net::Timer ping{}, silence{}, renewal{};

  void say_hello() {
    Json m = hello();
    m["type"] = "hello";
    m["version"] = TG_VERSION;
    m["name"] = net::host_name();
    stream->send(m);
    ping.after(kPingEvery);
    check_renewal();
  }

  void check_renewal() {
    renewal.after(kRenewalCheck);
    if (!stream->up() || net::Loop::wall() < identity.renewal_due()) return;
    if (const auto request = identity.renewal()) stream->send(*request);
  }

  void down(const std::string& why) {
    const bool changed = up || problem != why;
    if (changed) net::log(net::Level::warning, "controller {}: {}", identity.controller().to_string(), why);
    up = false;
    problem = why;
    ping.cancel();
    silence.cancel();
    if (changed) callbacks.on_state();
  }

  void on_message(const Json& m) {
    silence.cancel();
    const std::string type = m["type"];
    if (type == "snapshot") {
      View fresh;
      if (m.contains("items") && m["items"].is_object()) {
        for (const auto& [key, item] : m["items"].items()) fresh[key] = item;
      }
      view = std::move(fresh);
      arrived();
    } else if (type == "delta") {
      Delta delta;
      if (m.contains("set") && m["set"].is_object()) {
        for (const auto& [key, item] : m["set"].items()) delta.set[key] = item;
      }
      if (m.contains("remove") && m["remove"].is_array()) {
        for (const Json& key : m["remove"]) {
          if (key.is_string()) delta.remove.push_back(key.get<std::string>());
        }
      }
      tg::apply(view, delta);
      callbacks.on_view();
    } else if (type == "renewed") {
      if (const auto done = identity.renewed(m); !done) net::log(net::Level::error, "certificate: {}", done.error().text);
    } else if (type == "goodbye") {
      down("the controller is restarting");
      stream->retry_now();
    } else if (type == "error") {
      refused = text_or(m, "code", "") == "denied";
      down(printable(text_or(m, "text", "refused")));
      if (refused && !view.empty()) {   // whoever is not let in any more has no use for what it was told
        view.clear();
        callbacks.on_view();
      }
    }
  }

  void arrived() {
    const bool was = up;
    up = true;
    refused = false;
    problem.clear();
    if (!was) net::log(net::Level::info, "controller {}: connected", identity.controller().to_string());
    callbacks.on_view();
    if (!was) callbacks.on_state();
  }
};

ControllerLink::ControllerLink(net::Loop& loop, AgentIdentity& identity, net::ResolveHost resolve, std::function<Json()> hello,
                               Callbacks callbacks)
    : state_(new State{loop, identity, std::move(hello), std::move(callbacks)}) {
  State* s = state_.get();
  s->ping = net::Timer(loop, [s] {
    s->stream->send({{"type", "ping"}});
    s->ping.after(kPingEvery);
    s->silence.after(kPingPatience);
  });
  s->silence = net::Timer(loop, [s] {
    s->down("the controller is silent");
    s->stream->retry_now();
  });
  s->renewal = net::Timer(loop, [s] { s->check_renewal(); });
  s->stream = std::make_unique<net::ControlStream>(
      loop, identity.controller(), std::move(resolve), [s] { return s->identity.client_context(net::kAlpnControl); },
      identity.self().network, "controller",
      net::ControlStream::Callbacks{[s] { s->say_hello(); }, [s](const Json& m) { s->on_message(m); },
                                    [s](const Error& e) {
                                      // The controller's last word says more than the end of the connection after it.
                                      if (s->refused && e.code == Errc::closed) return;
                                      s->down(e.text);
                                    }});
}
ControllerLink::~ControllerLink() = default;

const View& ControllerLink::view() const noexcept { return state_->view; }
bool ControllerLink::up() const noexcept { return state_->up; }
const std::string& ControllerLink::problem() const noexcept { return state_->problem; }
bool ControllerLink::refused() const noexcept { return state_->refused; }
void ControllerLink::check_now() {
  if (!state_->stream->up()) return state_->stream->retry_now();
  state_->stream->send({{"type", "ping"}});
  state_->silence.after(net::kCheckPatience);
}
void ControllerLink::hello_again() {
  if (state_->stream->up()) state_->say_hello();
}
void ControllerLink::close() { state_->stream->close(); }

}  // namespace tg::cmd
