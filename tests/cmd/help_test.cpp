#include "cmd/help.h"

#include <gtest/gtest.h>

#include <sstream>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cmd/command.h"
#include "cmd/examples.h"
#include "cmd/settings.h"
#include "net/files.h"
#include "tests/support/folder.h"

namespace tg::cmd::help_test {

constexpr std::size_t kWidest = 120;

struct Commands : testing::Test {
  Commands() { declare_commands(Command(app)); }

  std::vector<CLI::App*> leaves() { return leaves_below(app); }
  static std::vector<CLI::App*> leaves_below(CLI::App& at) {
    std::vector<CLI::App*> out;
    for (CLI::App* sub : at.get_subcommands([](CLI::App*) { return true; })) {
      const auto below = leaves_below(*sub);
      if (below.empty()) out.push_back(sub);
      else out.insert(out.end(), below.begin(), below.end());
    }
    return out;
  }
  CLI::App* leaf(const std::string& path) {
    for (CLI::App* c : leaves()) {
      if (command_path(*c) == path) return c;
    }
    return nullptr;
  }

  CLI::App app{"tg", "tg"};
};

TEST_F(Commands, have_help_with_purpose_options_examples_and_exit_statuses) {
  ASSERT_GT(leaves().size(), 40u);
  for (CLI::App* c : leaves()) {
    const std::string path = command_path(*c);
    SCOPED_TRACE(path);
    const std::string help = c->help();
    EXPECT_FALSE(c->get_description().empty());
    EXPECT_FALSE(examples_of(path).empty()) << "cmd/examples.cpp has none for it";
    for (const char* part : {"Usage: ", "Examples:\n  ", "Exit status:\n  0 "})
      EXPECT_NE(help.find(part), help.npos) << part;
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), kWidest) << line;
  }
}

std::string part_of(const std::string& help, const std::string& heading) {
  const std::size_t at = help.find(heading);
  return at == help.npos ? "" : help.substr(at + heading.size());
}

TEST_F(Commands, say_their_own_exit_statuses_where_these_are_other_than_the_general_ones) {
  const auto statuses = [&](const char* path) { return part_of(leaf(path)->help(), "Exit status:\n"); };
  const std::string general = statuses("client up");
  for (const char* says : {"0 done", "1 failed", "2 wrong usage or a wrong file", "3 unreachable or not running",
                           "4 this machine has to be let in", "5 denied", "6 conflict"}) {
    EXPECT_NE(general.find(says), general.npos) << says << " is not in:\n" << general;
  }
  EXPECT_EQ(statuses("controller user create"), general);
  const std::pair<const char*, std::vector<std::string>> own[] = {
      {"controller apply", {"with --dry-run: there is nothing to do", "with --dry-run also: a wrong file",
                            "2 wrong usage or a wrong file, or with --dry-run: there are changes"}},
      {"client dns", {"0 NOERROR", "1 another answer", "3 nobody answered, or not running"}},
      {"client status", {"0 online", "3 not online or not running"}},
      {"client ping", {"0 a reply came", "3 no reply, or not running", "5 denied"}},
      {"connector health", {"0 healthy, 1 not"}},
      {"relay health", {"0 healthy, 1 not"}},
  };
  for (const auto& [path, says] : own) {
    for (const std::string& text : says) {
      EXPECT_NE(statuses(path).find(text), std::string::npos) << path << ": no " << text << " in:\n" << statuses(path);
    }
  }
}

TEST_F(Commands, for_the_desired_state_show_every_table_that_a_file_may_have) {
  const std::string help = leaf("controller apply")->help();
  for (const char* table : {"network", "connector", "relay", "identity-provider", "policy", "user", "service", "group", "resource", "test"}) {
    EXPECT_NE(help.find(std::string("[[") + table + "]]"), help.npos) << table;
  }
}

TEST_F(Commands, describe_every_option_with_its_unit) {
  for (CLI::App* c : leaves()) {
    for (const CLI::Option* o : c->get_options()) {
      SCOPED_TRACE(command_path(*c) + " " + o->get_name());
      EXPECT_FALSE(o->get_description().empty());
      if (o->get_type_size() != 0 && !o->get_lnames().empty()) {
        const std::string type = o->get_type_name();
        EXPECT_NE(type, "TEXT");
        EXPECT_NE(type, "UINT");
      }
    }
  }
}

TEST_F(Commands, show_examples_whose_words_are_there) {
  for (CLI::App* c : leaves()) {
    std::istringstream lines{std::string(examples_of(command_path(*c)))};
    for (std::string line; std::getline(lines, line);) {
      SCOPED_TRACE(line);
      if (line.find('#') != line.npos) line.resize(line.find('#'));
      if (line.find('|') != line.npos) line.resize(line.find('|'));
      if (line.starts_with("HEALTHCHECK")) continue;
      EXPECT_NE(line.find("tg " + command_path(*c)), line.npos);
      std::istringstream words(line);
      for (std::string word; words >> word;) {
        if (!word.starts_with("--")) continue;
        EXPECT_NE(c->get_option_no_throw(word), nullptr) << word;
      }
    }
  }
}

TEST_F(Commands, of_agents_take_state_config_timeout_and_of_what_prints_json) {
  for (CLI::App* c : leaves()) {
    const std::string path = command_path(*c);
    SCOPED_TRACE(path);
    if (path == "version" || path.starts_with("completion")) continue;
    EXPECT_NE(c->get_option_no_throw("--state"), nullptr);
    EXPECT_NE(c->get_option_no_throw("--config"), nullptr);
    const bool stays = path.ends_with(" run") || path.ends_with(" serve");
    if (stays) continue;
    EXPECT_NE(c->get_option_no_throw("--timeout"), nullptr);
    EXPECT_NE(c->get_option_no_throw("--json"), nullptr);
  }
}

TEST_F(Commands, keep_their_own_defaults) {
  const auto standard = [&](const char* path) { return leaf(path)->get_option("--timeout")->get_default_str(); };
  EXPECT_EQ(standard("client up"), "20");
  EXPECT_EQ(standard("client status"), "5");
  EXPECT_EQ(standard("connector run"), "20");
  EXPECT_EQ(standard("connector health"), "5");
}

TEST_F(Commands, take_one_file_for_all_commands_of_a_role) {
  const test::Folder folder;
  const std::string path = folder / "client.toml";
  ASSERT_TRUE(net::write_file(path, "state = \"/tmp/x\"\ninterface = \"tg7\"\ntimeout = 9\ncount = 2\n"));
  const auto up = with_settings(app, {"client", "up", "--config", path});
  ASSERT_TRUE(up) << up.error().text;
  const std::vector<std::string> expect_up{"client",         "up",         "--config", path, "--interface=tg7",
                                           "--state=/tmp/x", "--timeout=9"};
  EXPECT_EQ(*up, expect_up);
  const auto ping = with_settings(app, {"client", "ping", "x", "--timeout", "1", "--config", path});
  ASSERT_TRUE(ping);
  const std::vector<std::string> expect_ping{"client",   "ping", "x",         "--timeout",     "1",
                                             "--config", path,   "--count=2", "--state=/tmp/x"};
  EXPECT_EQ(*ping, expect_ping);
  ASSERT_TRUE(net::write_file(path, "listen = \"1.2.3.4:5\"\n"));   // a connector's
  const auto wrong = with_settings(app, {"client", "status", "--config", path});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::invalid_argument);
  EXPECT_NE(wrong.error().text.find("client.toml:1: listen"), std::string::npos) << wrong.error().text;
}

TEST_F(Commands, that_are_mistyped_are_named_with_what_was_meant) {
  const auto mistake = [&](std::vector<std::string> words) { return command_mistake(app, words).value_or(""); };
  EXPECT_EQ(mistake({"client", "upp"}),
            "there is no command \"client upp\", perhaps \"up\" is meant; see 'tg client --help'");
  EXPECT_EQ(mistake({"client", "dance"}), "there is no command \"client dance\"; see 'tg client --help'");
  EXPECT_EQ(mistake({"clinet", "up"}), "there is no command \"clinet\", perhaps \"client\" is meant; see 'tg --help'");
  EXPECT_TRUE(mistake({"client"}).starts_with("tg client needs a command: up, "));
  EXPECT_TRUE(mistake({}).starts_with("tg needs a command: "));
  for (const std::vector<std::string>& right :
       {std::vector<std::string>{"client", "ping", "up"}, {"--help"}, {"client", "--help"}, {"--version"}}) {
    EXPECT_EQ(mistake(right), "");
  }
}

}  // namespace tg::cmd::help_test
