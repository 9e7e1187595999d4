// tg client request RESOURCE
#include <fmt/format.h>

#include <cstdio>

#include "cmd/client/commands.h"
#include "core/duration.h"
#include "core/json.h"
#include "core/text.h"

namespace tg::client {
namespace {

constexpr std::size_t kReasonMax = Fields::kTextMax;

struct Ask {
  Common common;
  std::string resource, length, reason;
};

Result<int> request(const Ask& o) {
  std::chrono::seconds length(0);
  if (!o.length.empty()) {
    auto read = parse_duration(o.length);
    if (!read) return fail(Errc::invalid_argument, "--for: " + read.error().text);
    if (read->count() == 0) return fail(Errc::invalid_argument, "--for: 0s is no time");
    length = *read;
  }
  if (o.reason.size() > kReasonMax || printable(o.reason, kReasonMax) != o.reason) {
    return fail(Errc::invalid_argument, fmt::format("--reason: one line of {} bytes at most", kReasonMax));
  }
  const auto answer = o.common.ask({{"type", "request"}, {"resource", o.resource}, {"seconds", std::uint64_t(length.count())},
                                    {"reason", o.reason}});
  if (!answer) return tl::unexpected(answer.error());
  const std::string id = text_or(*answer, "id", "");
  if (o.common.json) {
    cmd::print_json({{"id", id}, {"resource", (*answer)["resource"]}, {"state", "open"}});
    return 0;
  }
  fmt::print("{}\n", id);
  std::fputs(fmt::format("tg: asked for {}; an administrator answers with: tg controller request approve {}\n",
                         printable(text_or(*answer, "resource", "")), id).c_str(), stderr);
  return 0;
}

}  // namespace

void add_request(cmd::Command client) {
  auto o = std::make_shared<Ask>();
  cmd::Command c = client.add_command("request", "Ask an administrator for a Resource that is reached by asking", [o] { return request(*o); });
  o->common.add_to(c, std::chrono::seconds(10));
  c.add_option("RESOURCE", o->resource, "Its name, address or alias").required();
  c.add_option("--for", o->length, "For how long (default: as long as the policy allows)").type_name("DURATION");
  c.add_option("--reason", o->reason, "What for; the administrator reads it").type_name("WORDS");
  c.footer("Prints the number of the request. 'tg client resources' shows when it is approved, and until when.");
}

}  // namespace tg::client
