#include "cmd/command.h"
#include "net/memory.h"

int main(int argc, char** argv) {
  tg::net::use_huge_pages();
  return tg::cmd::run_command_line(argc, argv);
}
