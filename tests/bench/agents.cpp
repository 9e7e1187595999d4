// Simulated agents for the bench of the controller. Each of them is what a real one is to its controller: an identity of its own,
// got with a token of its own, and a ControllerLink with all that this does by itself. Each comes from an address of its own.
// tests/bench/controller.py says what to do, a line on stdin, and hears what happened, a JSON object a line on stdout:
//
//   enrol USERS         a connector "bench" and a device for each user     {"event":"enrolled","agents":N,"seconds":S}
//   bare COUNT          so many handshakes with a thread that does no more {"event":"bare","handshakes":N,"seconds":S}
//   connect FROM TO     these start their links, few at a time             {"event":"up",…} when all who were started are up
//   mark                what happened until now does not count             and another "up" when all have come up anew
//   expect ALIAS        that a Resource has in everybody's View            {"event":"told",…} when it has
//
// "at" and the like are seconds of the monotonic clock, which all processes of a machine share. It ends with its stdin.
//
//   bench_agents CONTROLLER_STATE OWN_STATE
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cmd/agent_identity.h"
#include "cmd/controller/api_client.h"
#include "cmd/controller_link.h"
#include "core/json.h"
#include "net/acceptor.h"
#include "net/log.h"

namespace tg::bench {
namespace {

constexpr std::size_t kEnrolAtOnce = 8;       // the controller does them one after the other anyway
constexpr std::size_t kConnectAtOnce = 32;    // of `connect` and `bare`; how they come back by themselves is another matter
constexpr std::uint16_t kBarePort = 9443;
constexpr std::uint32_t kFirstAddress = 0x0a400001;   // 10.64.0.1; the namespace takes all of 10.64.0.0/10 for its own
constexpr std::chrono::seconds kPatience(30);

double seconds(Instant t) { return std::chrono::duration<double>(t.time_since_epoch()).count(); }
double now() { return seconds(net::Loop::now()); }

void tell(const Json& event) {
  std::puts(event.dump().c_str());
  std::fflush(stdout);
}

[[noreturn]] void give_up(const std::string& why) {
  tell({{"event", "failed"}, {"text", why}});
  std::_Exit(1);
}

// at returns the value that a part of the sorted values, from 0 to 1, does not exceed.
double at(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(part * static_cast<double>(sorted.size())))];
}

// busiest_second returns the most of the sorted times that lie within one second.
std::size_t busiest_second(const std::vector<double>& sorted) {
  std::size_t most = 0, from = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    while (sorted[i] - sorted[from] >= 1) ++from;
    most = std::max(most, i - from + 1);
  }
  return most;
}

// The controller is found at one of the namespace's addresses. Who connects to an address of his own has it as his source too.
net::Addresses address_of(std::size_t agent) { return {IpAddress(Ipv4{kFirstAddress + static_cast<std::uint32_t>(agent)})}; }

// Enroller lets agents in, several at once, each as `tg client up --token` does it: number 0 is the connector.
class Enroller {
 public:
  Enroller(std::string controller, std::string state, std::size_t users)
      : controller_(std::move(controller)), state_(std::move(state)), identities_(users + 1) {}

  std::vector<std::optional<cmd::AgentIdentity>> run() {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kEnrolAtOnce; ++i) {
      threads.emplace_back([this] {
        for (std::size_t n = next_++; n < identities_.size() && !failed_; n = next_++) enrol(n);
      });
    }
    for (std::thread& t : threads) t.join();
    if (failed_) give_up(why_);
    return std::move(identities_);
  }

 private:
  void enrol(std::size_t number) {
    const bool device = number > 0;
    const std::string subject = device ? fmt::format("user{}@example.com", number) : "bench";
    auto answer = controller::ask_controller(
        controller_, {{"type", "token"}, {"role", device ? "device" : "connector"}, {"subject", subject}, {"expires", "1h"}},
        kPatience);
    if (!answer) return fail(answer.error().text);
    const std::string folder = fmt::format("{}/{}", state_, number);
    std::filesystem::create_directories(folder);
    auto identity = cmd::AgentIdentity::obtain(folder, text_or(*answer, "token", ""),
                                               device ? Token::Role::device : Token::Role::connector,
                                               [number](net::Loop& loop) -> net::ResolveHost {
                                                 return [number, &loop](const std::string&, auto found) {
                                                   loop.post([number, found] { found(address_of(number)); });
                                                 };
                                               }, kPatience);
    if (!identity) return fail(identity.error().text);
    identities_[number] = std::move(*identity);
  }

  void fail(const std::string& why) {
    const std::lock_guard lock(mutex_);
    if (!failed_.exchange(true)) why_ = why;
  }

  const std::string controller_, state_;
  std::vector<std::optional<cmd::AgentIdentity>> identities_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  std::string why_;
};

// Bare is the other end of the handshakes that the controller is measured against: it accepts, hangs up when the handshake is
// done, and does nothing else. Its thread is to the agents what the controller's process is to them otherwise.
class Bare {
 public:
  explicit Bare(const cmd::AgentIdentity& self) {
    auto context = self.server_context(net::kAlpnControl);
    if (!context) give_up(context.error().text);
    auto listener = net::tcp_listen({IpAddress(), kBarePort});
    if (!listener) give_up(listener.error().text);
    thread_ = std::thread([this, context = std::move(*context), fd = std::make_shared<net::Fd>(std::move(*listener))] {
      net::Acceptor acceptor(loop_, std::move(*fd), [&](net::Fd accepted, const Endpoint&) {
        const std::uint64_t number = last_++;
        net::Tls::Callbacks calls{[this, number] { open_.at(number)->close(); }, [](Bytes) {}, {}, [this, number](const Error&) {
                                    loop_.post([this, number] { open_.erase(number); });
                                  }};
        open_.emplace(number, std::make_unique<net::Tls>(loop_, std::move(accepted), context, std::move(calls)));
      });
      loop_.run();
      open_.clear();
    });
  }
  ~Bare() {
    loop_.stop();
    thread_.join();
  }

 private:
  net::Loop loop_;
  std::map<std::uint64_t, std::unique_ptr<net::Tls>> open_;
  std::uint64_t last_ = 0;
  std::thread thread_;
};

// Agents are all of them, and what they have seen.
class Agents {
 public:
  Agents(std::string controller, std::string state) : controller_(std::move(controller)), state_(std::move(state)) {
    input_ = net::Watch(loop_, STDIN_FILENO, [this] { read(); });
    input_.want_read(true);
  }
  void run() { loop_.run(); }

 private:
  struct Agent {
    std::optional<cmd::AgentIdentity> identity;
    std::unique_ptr<cmd::ControllerLink> link{};
    std::size_t attempts = 0;    // to connect, and
    bool back = false;           // up once: since the mark
    bool up = false;
    bool told = false;           // what is expected
  };
  struct Handshake {
    std::unique_ptr<net::Tls> tls;
    std::size_t agent = 0;
  };

  void read() {
    char bytes[4096];
    const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (got == 0) std::_Exit(0);       // nobody says goodbye: the controller is ended first or does not mind
    if (got < 0) return;
    line_.append(bytes, static_cast<std::size_t>(got));
    for (std::size_t end; (end = line_.find('\n')) != std::string::npos; line_.erase(0, end + 1)) obey(line_.substr(0, end));
  }

  void obey(const std::string& line) {
    std::vector<std::string> words(1);
    for (const char c : line) {
      if (c == ' ') words.emplace_back();
      else words.back() += c;
    }
    if (words[0] == "enrol" && words.size() == 2) return enrol(number(words[1]));
    if (words[0] == "bare" && words.size() == 2) return bare(number(words[1]));
    if (words[0] == "connect" && words.size() == 3) return connect(number(words[1]), number(words[2]));
    if (words[0] == "mark" && words.size() == 1) return mark();
    if (words[0] == "expect" && words.size() == 2) return expect(words[1]);
    give_up(fmt::format("\"{}\" is not understood", line));
  }

  static std::size_t number(const std::string& word) {
    std::size_t out = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
    if (error != std::errc() || end != word.data() + word.size()) give_up(fmt::format("\"{}\" is not a number", word));
    return out;
  }

  void enrol(std::size_t users) {
    const double began = now();
    auto identities = Enroller(controller_, state_, users).run();
    agents_ = std::vector<Agent>(identities.size());
    for (std::size_t i = 0; i < agents_.size(); ++i) agents_[i].identity = std::move(identities[i]);
    tell({{"event", "enrolled"}, {"agents", agents_.size()}, {"seconds", now() - began}});
  }

  // -- the machine alone ----------------------------------------------------------------------------------------------------
  void bare(std::size_t count) {
    if (agents_.empty()) give_up("nobody is enrolled");
    bare_ = std::make_unique<Bare>(*agents_[0].identity);
    bare_wanted_ = count;
    bare_begun_ = bare_done_ = 0;
    began_ = now();
    for (std::size_t slot = 0; slot < std::min(count, kConnectAtOnce); ++slot) shake_hands(slot);
  }

  void shake_hands(std::size_t slot) {
    if (bare_begun_ == bare_wanted_) return;
    const std::size_t agent = bare_begun_++ % agents_.size();
    auto context = agents_[agent].identity->client_context(net::kAlpnControl);    // made anew, as by a link's each attempt
    if (!context) give_up(context.error().text);
    auto fd = net::tcp_connect({address_of(agent)[0], kBarePort});
    if (!fd) give_up(fd.error().text);
    net::Tls::Callbacks calls{[] {}, [](Bytes) {}, {}, [this, slot](const Error& e) {   // the other end hangs up: it is done too
                                if (e.code != Errc::closed) give_up("bare handshakes: " + e.text);
                                loop_.post([this, slot] { shaken(slot); });
                              }};
    shaking_[slot] = std::make_unique<net::Tls>(loop_, std::move(*fd), *context, std::move(calls));
  }

  void shaken(std::size_t slot) {
    shaking_.erase(slot);
    if (++bare_done_ < bare_wanted_) return shake_hands(slot);
    tell({{"event", "bare"}, {"handshakes", bare_done_}, {"seconds", now() - began_}});
    bare_.reset();
  }

  // -- with the controller --------------------------------------------------------------------------------------------------
  void connect(std::size_t from, std::size_t to) {
    if (from != next_ || to < from || to > agents_.size()) give_up("connect: not the next agents");
    wanted_ = to;
    began_ = now();
    start_some();
  }

  void start_some() {
    while (next_ < wanted_ && next_ - back_ < kConnectAtOnce) start(next_++);
  }

  void start(std::size_t i) {
    Agent& a = agents_[i];
    const auto resolve = [this, i](const std::string&, auto found) {
      ++agents_[i].attempts;
      attempts_.push_back(now());
      loop_.post([i, found] { found(address_of(i)); });
    };
    const auto hello = [] { return Json{{"direct", Json::array()}}; };
    a.link = std::make_unique<cmd::ControllerLink>(
        loop_, *a.identity, resolve, hello,
        cmd::ControllerLink::Callbacks{[this, i] { on_view(agents_[i]); }, [this, i] { on_state(agents_[i]); }});
  }

  void on_state(Agent& a) {
    if (!a.link->up()) {
      a.up = false;
      ++problems_[a.link->problem()];
      return;
    }
    a.up = true;
    if (!std::exchange(a.back, true)) {
      ++back_;
      came_.push_back(now());
    }
    start_some();
    if (back_ < wanted_ || !std::all_of(agents_.begin(), agents_.begin() + static_cast<std::ptrdiff_t>(wanted_),
                                        [](const Agent& one) { return one.up; })) {
      return;
    }
    tell_up();
  }

  void tell_up() {
    std::vector<double> each;
    for (std::size_t i = 0; i < wanted_; ++i) each.push_back(static_cast<double>(agents_[i].attempts));
    std::sort(each.begin(), each.end());
    std::sort(came_.begin(), came_.end());
    tell({{"event", "up"}, {"agents", wanted_}, {"half", at(came_, 0.5)}, {"at", now()}, {"attempts", attempts_.size()},
          {"attempts_each_p50", at(each, 0.5)}, {"attempts_each_p99", at(each, 0.99)}, {"attempts_each_most", each.back()},
          {"attempts_busiest_second", busiest_second(attempts_)}, {"came_busiest_second", busiest_second(came_)},
          {"problems", problems_}});
  }

  void mark() {
    for (Agent& a : agents_) {
      a.attempts = 0;
      a.back = false;
    }
    back_ = 0;
    attempts_.clear();
    came_.clear();
    problems_.clear();
    tell({{"event", "marked"}, {"at", now()}});
  }

  void expect(const std::string& alias) {
    for (Agent& a : agents_) a.told = false;
    expected_ = alias;
    told_.clear();
    tell({{"event", "expecting"}, {"at", now()}});
  }

  void on_view(Agent& a) {
    if (expected_.empty() || a.told) return;
    const View& view = a.link->view();
    for (auto item = view.lower_bound("resource/"); item != view.end() && item->first.starts_with("resource/"); ++item) {
      if (text_or(item->second, "alias", "") != expected_) continue;
      a.told = true;
      told_.push_back(now());
      break;
    }
    if (told_.size() < wanted_ || !a.told) return;
    tell({{"event", "told"}, {"agents", told_.size()}, {"first", told_.front()}, {"half", at(told_, 0.5)}, {"at", told_.back()}});
    expected_.clear();
  }

  const std::string controller_, state_;
  net::Loop loop_;
  net::Watch input_;
  std::string line_;
  std::vector<Agent> agents_;
  double began_ = 0;

  std::unique_ptr<Bare> bare_;
  std::map<std::size_t, std::unique_ptr<net::Tls>> shaking_;     // by slot
  std::size_t bare_wanted_ = 0, bare_begun_ = 0, bare_done_ = 0;

  std::size_t next_ = 0;                // the first agent that was not started yet
  std::size_t wanted_ = 0;              // those before this one are to be up
  std::size_t back_ = 0;                // came up since the mark
  std::vector<double> attempts_, came_, told_;      // when
  std::map<std::string, std::size_t> problems_;
  std::string expected_;
};

int run(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: bench_agents CONTROLLER_STATE OWN_STATE\n", stderr);
    return 2;
  }
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  std::signal(SIGPIPE, SIG_IGN);
  net::set_log_level(net::Level::error);       // that the controller is gone is said 10,000 times otherwise
  Agents(argv[1], argv[2]).run();
  return 0;
}

}  // namespace
}  // namespace tg::bench

int main(int argc, char** argv) { return tg::bench::run(argc, argv); }
