#include "cmd/command.h"

int main(int argc, char** argv) { return tg::cmd::run_command_line(argc, argv); }
