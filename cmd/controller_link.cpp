#include "cmd/controller_link.h"

#include "cmd/clock.h"
#include "core/backoff.h"
#include "core/encoding.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"
#include "net/log.h"
#include "net/memory.h"

namespace tg::cmd {
namespace {

constexpr Duration kPingEvery = std::chrono::seconds(10);
constexpr Duration kPingPatience = std::chrono::seconds(5);
constexpr Duration kRenewalCheck = std::chrono::seconds(60);   // at most: clocks are set
constexpr Duration kRenewalPatience = std::chrono::seconds(5);  // for an answer
constexpr std::chrono::seconds kAhead(60);                  // as grants and certificates are forgiven
constexpr std::size_t kLargeView = 10'000;                   // items
constexpr Duration kSaveEvery = std::chrono::seconds(1);   // at most, in a storm of changes
constexpr Duration kRenewalAgain = std::chrono::hours(1);   // when the newest certificate is not valid here either
// Between two attempts of a process whose identity another one uses.
constexpr Duration kFirstConflict = std::chrono::seconds(5);
constexpr Duration kLongestConflict = std::chrono::seconds(60);

}  // namespace

std::string random_process() {
  const std::uint64_t id = net::random_seed();
  Buffer bytes;
  Writer(bytes).u64(id);
  return hex(bytes);
}

struct ControllerLink::State {
  net::Loop& loop;
  AgentIdentity& identity;
  std::function<Json()> hello;
  Callbacks callbacks;
  std::unique_ptr<net::ControlStream> stream{};
  View view{};
  std::string problem = "not connected yet";
  std::string clock{};
  std::optional<Instant> up_since{};
  std::optional<Errc> refusal{};             // while the controller does not let this agent in
  Instant asked{};
  const std::string process = random_process();
  Backoff conflicts{kFirstConflict, kLongestConflict, net::random_seed()};
  net::Timer ping{}, silence{}, renewal{};
  std::optional<ViewFile> file{};
  std::function<std::chrono::seconds(const View&)> good_for{};
  std::optional<UnixTime> kept_as_of{};
  bool somebody_else = false;
  bool looked = false;             // at the file, or need not
  bool unsaved = true;             // the file may say something else than the View, or be missing
  Instant save_again{};            // earlier only without what was saved before
  net::Timer saving{};

  void say_hello() {
    Json m = hello();
    m["type"] = "hello";
    m["version"] = TG_VERSION;
    m["name"] = net::host_name();
    m["process"] = process;
    stream->send(m);
    ping.after(kPingEvery);
    check_renewal();
  }

  void ask(Duration patience) {
    stream->send({{"type", "ping"}});
    asked = net::Loop::now();
    silence.after(patience);
  }

  void told(bool news) {
    unsaved = unsaved || news;
    kept_as_of.reset();
    if (file) keep();
    callbacks.on_view();
  }

  void keep() {
    if (!unsaved || net::Loop::now() >= save_again) return save();
    file->forget();   // rather none than one that lacks what was told
    saving.at(save_again);
  }

  // save has the file hold the View, as of now.
  void save() {
    if (!file || !up_since) return;
    saving.cancel();
    if (!unsaved && file->still(net::Loop::wall())) return;   // not where somebody took the file away
    unsaved = !file->save(view);
    if (view.size() >= kLargeView) loop.post(net::give_back_memory);   // what reading and writing it took
    save_again = net::Loop::now() + kSaveEvery;
  }

  // use_kept has the agent begin with what it was told before it was started: it has not been told anything yet.
  void use_kept() {
    if (!file || refusal) return;
    auto kept = file->load();
    if (!kept) return;
    const UnixTime now = net::Loop::wall();
    const std::string when = utc_text(kept->as_of);
    const bool old = now - kept->as_of > good_for(kept->view);
    if (old || kept->as_of > now + kAhead) {
      return net::log(net::Level::warning, "what the controller said until {} is {} to go by", when,
                      old ? "too old" : "from the future, and not good");
    }
    net::log(net::Level::info, "going by what the controller said until {}", when);
    view = std::move(kept->view);
    kept_as_of = kept->as_of;
    callbacks.on_view();
  }

  void check_renewal() {
    const Duration left = identity.renewal_due() - net::Loop::wall();
    renewal.after(std::clamp(left, kRenewalPatience, kRenewalCheck));
    save();
    if (!stream->up() || !identity.wants_renewal(net::Loop::wall())) return;
    if (const auto request = identity.renewal()) stream->send(*request);
  }

  void down(const std::string& why, Errc code = Errc::unreachable) {
    somebody_else = code == Errc::denied;
    const bool news = up_since || problem != why;
    save();
    if (news) net::log(net::Level::warning, "controller {}: {}", identity.controller().to_string(), why);
    up_since.reset();
    problem = why;
    clock.clear();            // nobody tells the time now
    ping.cancel();
    silence.cancel();
    if (!std::exchange(looked, true)) use_kept();
    if (news) callbacks.on_state();
  }

  void on_message(const Json& m) {
    silence.cancel();
    const std::string type = m["type"];
    if (const auto theirs = told_time(m)) compare_clocks(*theirs);
    if (type == "snapshot") {
      View fresh;
      if (m.contains("items") && m["items"].is_object()) {
        for (const auto& [key, item] : m["items"].items()) fresh[key] = item;
      }
      const bool news = fresh != view;   // not for a connector or a relay whose controller was started again
      view = std::move(fresh);
      arrived(news);
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
      told(true);
    } else if (type == "renewed") {
      renewed(m);
    } else if (type == "goodbye") {
      down("the controller is restarting");
      stream->retry_soon();
    } else if (type == "error") {
      turned_away(text_or(m, "code", ""), printable(text_or(m, "text", "refused")));
    } else if (type != "pong" && !(callbacks.on_answer && callbacks.on_answer(m))) {
      stream->refuse(type);
    }
  }

  void compare_clocks(UnixTime theirs) {
    const bool was_right = clock.empty();
    clock = clock_problem(net::Loop::wall(), theirs);
    if (was_right && !clock.empty()) net::log(net::Level::warning, "{}", clock);
    if (!was_right && clock.empty()) net::log(net::Level::info, "this machine's clock is right again");
  }

  void turned_away(const std::string& name, const std::string& why) {
    const auto code = errc_named(name);
    const bool refused = code == Errc::conflict || code == Errc::denied || code == Errc::removed;
    refusal = refused ? code : std::nullopt;
    down(why);
    if (refused && file) {
      file->forget();
      unsaved = true;
    }
    if (refused && !view.empty()) {   // whoever is not let in any more has no use for what it was told
      view.clear();
      callbacks.on_view();
    }
    if (code == Errc::conflict) stream->retry_after(conflicts.next());
    else stream->retry_late();
  }

  void renewed(const Json& m) {
    if (const auto done = identity.renewed(m); !done) {
      return net::log(net::Level::error, "certificate: {}", done.error().text);
    }
    if (!identity.wants_renewal(net::Loop::wall())) return;
    net::log(net::Level::warning, "the controller's certificates are not valid by this machine's clock; {}",
             kSetTheClock);
    renewal.after(kRenewalAgain);
  }

  void arrived(bool news) {
    const bool was = up_since.has_value();
    if (!was) up_since = net::Loop::now();
    refusal.reset();
    somebody_else = false;
    conflicts.reset();
    problem.clear();
    if (!was) net::log(net::Level::info, "controller {}: connected", identity.controller().to_string());
    looked = true;
    told(news);
    if (!was) callbacks.on_state();
  }
};

ControllerLink::ControllerLink(net::Loop& loop, AgentIdentity& identity, net::ResolveHost resolve,
                               std::function<Json()> hello, Callbacks callbacks,
                               std::optional<KeptView> kept)
    : state_(new State{loop, identity, std::move(hello), std::move(callbacks)}) {
  State* s = state_.get();
  if (kept) {
    const net::Identity& self = identity.self();
    s->file.emplace(std::move(kept->path), self.network + "/" + self.role + "/" + self.id);
    s->good_for = std::move(kept->good_for);
    s->saving = net::Timer(loop, [s] { s->save(); });
  }
  s->ping = net::Timer(loop, [s] {
    s->ask(kPingPatience);
    s->ping.after(kPingEvery);
  });
  s->silence = net::Timer(loop, [s] {
    const Instant heard = s->stream->heard();
    const bool on_its_way = heard > s->asked && net::Loop::now() < heard + kPingPatience;   // a long snapshot
    if (on_its_way) return s->silence.at(heard + kPingPatience);
    s->down("the controller is silent");
    s->stream->retry_now();
  });
  s->renewal = net::Timer(loop, [s] { s->check_renewal(); });
  s->stream = std::make_unique<net::ControlStream>(
      loop, identity.controller(), std::move(resolve), [s] { return s->identity.client_context(net::kAlpnControl); },
      identity.self().network, "controller",
      identity.self().role == "device" ? net::ControlStream::Watchful::no : net::ControlStream::Watchful::yes,
      net::ControlStream::Callbacks{[s] { s->say_hello(); }, [s](const Json& m) { s->on_message(m); },
                                    [s](const Error& e) { s->down(e.text, e.code); }});
}
ControllerLink::~ControllerLink() = default;

const View& ControllerLink::view() const noexcept { return state_->view; }
std::optional<Instant> ControllerLink::up_since() const noexcept { return state_->up_since; }
const std::string& ControllerLink::problem() const noexcept { return state_->problem; }
const std::string& ControllerLink::clock() const noexcept { return state_->clock; }
std::optional<Errc> ControllerLink::refusal() const noexcept { return state_->refusal; }
bool ControllerLink::somebody_else() const noexcept { return state_->somebody_else; }
std::optional<UnixTime> ControllerLink::kept_as_of() const noexcept { return state_->kept_as_of; }
bool ControllerLink::say(const Json& message) {
  if (!up()) return false;
  state_->stream->send(message);
  return true;
}
void ControllerLink::check_now() {
  if (!state_->stream->up()) return state_->stream->retry_now();
  state_->ask(net::kCheckPatience);
}
void ControllerLink::hello_again() {
  if (state_->stream->up()) state_->say_hello();
}
void ControllerLink::close() {
  state_->save();
  state_->stream->close();
}

}  // namespace tg::cmd
