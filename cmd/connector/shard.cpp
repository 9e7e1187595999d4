#include "cmd/connector/shard.h"

#include <utility>

#include "net/log.h"

namespace tg::connector {

namespace {

dns::Resolver::Config asking(std::vector<Endpoint> servers, const Session::Common& common) {
  dns::Resolver::Config config;
  config.servers.servers = std::move(servers);
  config.lookups = common.lookups;
  return config;
}

}  // namespace

Shard::Shard(net::Worker& worker, Session::Common& common, std::vector<Endpoint> dns, Rules rules, Tell tell)
    : worker_(worker), common_(common), resolver_(worker.loop(), asking(std::move(dns), common)), rules_(std::move(rules)), tell_(std::move(tell)) {}

void Shard::say(std::uint64_t number, Stage stage) {
  worker_.tell([tell = tell_, number, stage] { tell(number, stage); });
}

void Shard::take(std::uint64_t number, const std::string& path, net::Fd fd, const net::TlsContext& context) {
  say(number, Stage::begun);
  const Session::Callbacks callbacks{[this, number] { say(number, Stage::known); }, [this, number](const Error& e) {
                                       net::log(net::Level::debug, "a tunnel ended: {}", e.text);
                                       say(number, Stage::over);
                                       sessions_.erase(number);
                                     }};
  sessions_[number] = std::make_unique<Session>(Session::Shared{worker_.loop(), resolver_, rules_, common_}, path, std::move(fd),
                                                context, callbacks);
}

void Shard::drop_stranger(std::uint64_t number) {
  const auto it = sessions_.find(number);
  if (it == sessions_.end() || it->second->known()) return;
  sessions_.erase(it);
  say(number, Stage::over);
}

void Shard::set_rules(const Rules& rules) {
  rules_ = rules;
  for (auto& [number, s] : sessions_) {
    s->rules_changed();
    if (rules_.self.grant_key.empty()) s->close(Code::denied);   // no longer a connector: clients go elsewhere
  }
}

void Shard::close(Code code) {
  for (auto& [number, s] : sessions_) s->close(code);
}

}  // namespace tg::connector
