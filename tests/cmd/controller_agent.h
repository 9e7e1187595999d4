// An agent as the controller sees one, and a Loop that turns until something is true.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "cmd/controller/pki.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/view.h"
#include "controller_support.h"
#include "net/keys.h"
#include "net/loop.h"
#include "net/tls.h"

namespace tg::controller {

// Turner runs a Loop until a condition holds, looking at it every 2 ms, for at most `patience`. It leaves the Loop by
// an exception, since a Loop that was stopped does not run again.
class Turner {
 public:
  explicit Turner(net::Loop& loop) : loop_(loop) {}
  bool until(const std::function<bool()>& condition, Duration patience = std::chrono::seconds(20)) {
    struct Enough { bool held; };
    const Instant deadline = net::Loop::now() + patience;
    net::Timer look;
    look = net::Timer(loop_, [&] {
      const bool held = condition();
      if (held || net::Loop::now() > deadline) throw Enough{held};
      look.after(std::chrono::milliseconds(2));
    });
    look.after(Duration::zero());
    try {
      loop_.run();
    } catch (const Enough& enough) {
      return enough.held;
    }
    return false;
  }

 private:
  net::Loop& loop_;
};

// Agent is one connection to a controller. Everything that is said to it is kept, and its View kept up to date.
class Agent {
 public:
  Agent(net::Loop& loop, const Endpoint& to, const net::TlsContext& context)
      : tls_(loop, must(net::tcp_connect(to)), context,
             {[this] { open = true; }, [this](Bytes b) { take(b); }, {},
              [this](const Error& e) { closed = true; why = e; }}) {}

  void say(const Json& message) { tls_.write(control_frame(message)); }
  void say_raw(Bytes bytes) { tls_.write(bytes); }
  void hello(const std::vector<std::string>& direct = {}, const std::string& process = "the only one") {
    say({{"type", "hello"}, {"version", "0.1.0"}, {"name", "laptop"}, {"process", process}, {"direct", direct}});
  }
  const std::optional<net::Identity>& peer() const { return tls_.identity(); }
  const std::string& root() const { return tls_.root_pem(); }
  const Json* last(const std::string& type) const {
    for (auto it = heard.rbegin(); it != heard.rend(); ++it) {
      if ((*it)["type"] == type) return &*it;
    }
    return nullptr;
  }
  std::size_t count(const std::string& type) const {
    return static_cast<std::size_t>(std::count_if(heard.begin(), heard.end(),
                                                  [&](const Json& m) { return m["type"] == type; }));
  }

  bool open = false;
  bool closed = false;
  Error why{};
  View view;
  std::deque<Json> heard;

 private:
  void take(Bytes bytes) {
    reader_.feed(bytes);
    while (true) {
      auto message = reader_.next();
      if (!message || !*message) return;
      const Json& m = **message;
      if (m["type"] == "snapshot") view = m["items"].get<View>();
      if (m["type"] == "delta") {
        tg::apply(view, Delta{m["set"].get<View>(), m["remove"].get<std::vector<std::string>>()});
      }
      heard.push_back(m);
    }
  }
  ControlReader reader_;
  net::Tls tls_;
};

}  // namespace tg::controller
