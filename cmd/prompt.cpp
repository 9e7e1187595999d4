#include "cmd/prompt.h"

#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>

namespace tg::cmd {
namespace {

termios before_silence;   // for a signal that ends the process

void speak_and_end(int signal) {
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_silence);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

// Silent shows nothing of what is typed while it lives, and leaves the terminal as it was, also when a signal ends the process.
class Silent {
 public:
  Silent() : known_(::tcgetattr(STDIN_FILENO, &before_silence) == 0) {
    if (!known_) return;
    for (const int s : kSignals) ::signal(s, speak_and_end);
    termios quiet = before_silence;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
  }
  ~Silent() {
    if (!known_) return;
    ::tcsetattr(STDIN_FILENO, TCSANOW, &before_silence);
    for (const int s : kSignals) ::signal(s, SIG_DFL);
  }
  Silent(const Silent&) = delete;
  Silent& operator=(const Silent&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  bool known_;
};

Result<std::string> next_line(const std::string& what) {
  std::string line;
  if (!std::getline(std::cin, line)) return fail(Errc::invalid_argument, "there is no " + what + " on standard input");
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace

bool at_terminal() { return ::isatty(STDIN_FILENO) == 1; }

Result<std::string> ask_line(const std::string& what) {
  if (at_terminal()) std::fputs((what + ": ").c_str(), stderr);
  return next_line(what);
}

Result<std::string> ask_secret(const std::string& what) {
  if (!at_terminal()) return next_line(what);
  const Silent silent;   // before anybody can answer
  std::fputs((what + ": ").c_str(), stderr);
  auto line = next_line(what);
  std::fputs("\n", stderr);
  return line;
}

}  // namespace tg::cmd
