// The command line of `link`: what each direction is to be.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "tests/support/link/link.h"

namespace tg::link {

inline constexpr std::string_view kUsage =
    R"(usage: link A B [OPTIONS]

Joins the Ethernet interfaces A and B of this network namespace, as a line with these properties would. Each option holds for
both directions; two values, as in --rate 20mbit,100mbit, are those of A to B and of B to A.

  --delay TIME      what each packet takes at least: 50ms, 200us, 1s
  --jitter TIME     up to this much more, evenly spread; packets stay in order
  --rate RATE       20mbit, 1gbit, 512kbit: bits a second of Ethernet frames without preamble and checksum
  --queue SIZE      what may wait for the line, drop-tail: 20ms (of the rate) or 100kb; 20ms unless told
  --loss SHARE      0.1% or 0.001 of the packets are lost on the way
  --reorder SHARE   of the packets are held up, so that those behind them go past
  --late TIME       for how long they are; 3ms unless told
  --seed NUMBER     of all chance; 1 unless told

Prints "ready" when packets go through, and at SIGTERM or SIGINT its counters as one line of JSON.
)";

struct CommandLine {
  std::array<std::string, 2> interfaces;
  std::array<LinkOptions, 2> ways;       // of what comes from the first interface, and from the second
};

// parse_command_line. Errors: invalid_argument.
Result<CommandLine> parse_command_line(const std::vector<std::string_view>& words);

}  // namespace tg::link
