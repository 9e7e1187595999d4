// Secrets that a command is given: never on its command line, where everybody sees them.
#pragma once

#include <string>

#include "core/result.h"
#include "core/time.h"

namespace tg::cmd {

// Secret is what an option named, and where it was.
struct Secret {
  std::string text;        // without white space around it
  std::string where;       // "TG_KEY", "standard input", or the name of the file
};

// secret_of reads the secret of an option ("--key") whose value is the name of a file, "-" for standard input, or in its environment
// variable (TG_KEY) the secret itself, which begins like every token. What has that in it is never taken for the name of a file, which an error
// would tell. Errors name the option: invalid_argument for a secret on the command line; those of net::read_secret until `end`.
Result<Secret> secret_of(const std::string& option, const std::string& value, Instant end);

}  // namespace tg::cmd
