#include "cmd/connector/shard.h"

#include <utility>

#include "net/log.h"

namespace tg::connector {

Shard::Shard(net::Worker& worker, Session::Common& common, std::vector<Endpoint> dns, Rules rules, Settled settled)
    : worker_(worker), common_(common), resolver_(worker.loop(), std::move(dns)), rules_(std::move(rules)), settled_(std::move(settled)) {}

void Shard::tell(std::uint64_t number, bool over) {
  worker_.tell([settled = settled_, number, over] { settled(number, over); });
}

void Shard::take(std::uint64_t number, const std::string& path, net::Fd fd, const net::TlsContext& context) {
  const Session::Callbacks callbacks{[this, number] { tell(number, false); }, [this, number](const Error& e) {
                                       net::log(net::Level::debug, "a tunnel ended: {}", e.text);
                                       tell(number, true);
                                       sessions_.erase(number);
                                     }};
  sessions_[number] = std::make_unique<Session>(Session::Shared{worker_.loop(), resolver_, rules_, common_}, path, std::move(fd),
                                                context, callbacks);
}

void Shard::drop_stranger(std::uint64_t number) {
  const auto it = sessions_.find(number);
  if (it == sessions_.end() || it->second->known()) return;
  sessions_.erase(it);
  tell(number, true);
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
