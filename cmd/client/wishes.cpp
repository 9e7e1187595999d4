#include "cmd/client/wishes.h"

#include <fmt/format.h>

#include "core/json.h"
#include "core/text.h"

namespace tg::client {
namespace {

constexpr std::size_t kWishesMax = 64;

// The Resource that a person means: its name, its address or its alias.
const Resource* meant(const Targets& targets, const std::string& text) {
  const std::string low = lower(text);
  for (const Resource& r : targets.matcher()->resources()) {
    if (r.name == text || r.address.text() == low || (!r.alias.empty() && r.alias == low)) return &r;
  }
  return nullptr;
}

}  // namespace

void Wishes::ask(const Json& request, const Targets& targets, const std::function<bool(const Json&)>& say,
                 const net::LocalServer::Reply& reply) {
  const std::string text = text_or(request, "resource", "");
  const auto refuse = [&](Errc code, const std::string& why) { reply(net::local_error({code, why})); };
  const Resource* r = meant(targets, text);
  if (r == nullptr) {
    return refuse(Errc::not_found, fmt::format("there is no Resource \"{}\" here; see: tg client resources", printable(text, 64)));
  }
  const ResourceAccess& access = targets.access(r->id);
  const std::string name = printable(r->name, 64);
  if (access.need == Need::nothing) return refuse(Errc::conflict, fmt::format("{} is ready: there is nothing to ask for", name));
  if (access.need < Need::approval) return refuse(Errc::login_needed, fmt::format("{} needs a sign-in first: sudo tg client login", name));
  if (waiting_.size() >= kWishesMax) return refuse(Errc::exhausted, "too many requests at once");
  const Json message = {{"type", "request_access"}, {"resource", r->id}, {"seconds", number_or(request, "seconds", 0)},
                        {"reason", text_or(request, "reason", "")}};
  if (!say(message)) return refuse(Errc::unreachable, "the controller is away; see: tg client status");
  waiting_.push_back({r->name, reply});
}

bool Wishes::answered(const Json& message) {
  if (message["type"] != "access_asked" || waiting_.empty()) return false;
  const Wish wish = std::move(waiting_.front());
  waiting_.pop_front();
  if (const std::string id = text_or(message, "id", ""); !id.empty()) {
    wish.reply({{"type", "request"}, {"id", id}, {"resource", wish.resource}});
    return true;
  }
  wish.reply(net::local_error({errc_named(text_or(message, "code", "")).value_or(Errc::failed),
                               printable(text_or(message, "text", "the controller refused"))}));
  return true;
}

void Wishes::controller_changed(bool up) {
  if (up) return;
  for (const Wish& wish : std::exchange(waiting_, {})) {
    wish.reply(net::local_error({Errc::unreachable, "the controller went away before it answered; see: tg controller request list"}));
  }
}

}  // namespace tg::client
