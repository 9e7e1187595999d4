// --verbose and --log-format of everything that runs for long.
#pragma once

#include <string>

#include "cmd/declare.h"

namespace tg::cmd {

struct LogOptions {
  bool verbose = false;
  std::string format = "text";
};

void add_log_options(Command command, LogOptions& options);
// begin_log has the process's log be as told.
void begin_log(const LogOptions& options);

}  // namespace tg::cmd
