#include "cmd/log_options.h"

#include "net/log.h"

namespace tg::cmd {

void add_log_options(Command command, LogOptions& options) {
  command.add_flag("--verbose", options.verbose, "Log more, for finding out what goes wrong");
  command.add_option("--log-format", options.format, "How lines of the log look: for people, or one JSON object each")
      .type_name("text|json")
      .one_of({"text", "json"})
      .capture_default_str();
}

void begin_log(const LogOptions& options) {
  if (options.verbose) net::set_log_level(net::Level::debug);
  net::set_log_format(options.format == "json" ? net::LogFormat::json : net::LogFormat::text);
}

}  // namespace tg::cmd
