#include "cmd/help.h"

#include <algorithm>
#include <map>
#include <numeric>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cmd/examples.h"
#include "core/text.h"

namespace tg::cmd {
namespace {

constexpr const char* kStatuses =
    "0 done, 1 failed, 2 wrong usage or a wrong file, 3 unreachable or not running,\n"
    "  4 this machine has to be let in with a token, 5 denied, 6 conflict";

// A table for `set_exit_status` would be a member of CLI::App if it had room for one.
std::map<const CLI::App*, std::string>& own_statuses() {
  static std::map<const CLI::App*, std::string> out;
  return out;
}

constexpr std::size_t kColumn = 30, kLine = 110;

// Lines break where the next word would not fit; the formatter indents what is behind a line end.
std::string wrapped(const std::string& text, std::size_t width) {
  std::string out;
  std::size_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (line > 0 && line + 1 + (end - at) > width) {
      out += '\n';
      line = 0;
    } else if (line > 0) {
      out += ' ';
      ++line;
    }
    out.append(text, at, end - at);
    line += end - at;
    at = end + 1;
  }
  return out;
}

// Formatter shows defaults behind the description, in words, and no variable at every option: all have one.
class Formatter final : public CLI::Formatter {
 public:
  Formatter() { column_width(kColumn); }

  std::string make_option_opts(const CLI::Option* o) const override {
    std::string out;
    const bool named = o->get_lnames().empty() && o->get_type_name() == "TEXT";   // an argument whose name says it all
    if (o->get_type_size() != 0 && !o->get_type_name().empty() && !named) out = " " + o->get_type_name();
    return out;
  }
  std::string make_option_desc(const CLI::Option* o) const override {
    std::string out = o->get_description();
    if (o->get_expected_max() == CLI::detail::expected_max_vector_size && out.find("repeat") == std::string::npos) {
      out += "; may be repeated";
    }
    if (o->get_type_size() != 0 && !o->get_default_str().empty())
      out += fmt::format(" (default: {})", o->get_default_str());
    return wrapped(out, kLine - kColumn);
  }
};

std::vector<CLI::App*> commands_below(CLI::App& app) { return app.get_subcommands([](CLI::App*) { return true; }); }

std::string indented(std::string_view lines) {
  std::string out;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size() - 1);
    out += "  ";
    out += lines.substr(at, end + 1 - at);
    at = end + 1;
  }
  return out;
}

std::string footer_of(CLI::App& command) {
  std::string out = command.get_footer();
  if (!out.empty()) out += "\n\n";
  if (command.get_option_no_throw("--config") != nullptr) {
    out +=
        "Every option is also a variable (--timeout: TG_TIMEOUT) and a key of the file of --config (timeout = 5).\n\n";
  }
  if (const auto examples = examples_of(command_path(command)); !examples.empty()) {
    out += fmt::format("Examples:\n{}\n", indented(examples));
  }
  const auto own = own_statuses().find(&command);
  return out + fmt::format("Exit status:\n  {}", own == own_statuses().end() ? kStatuses : own->second);
}

// Levenshtein's distance.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0u);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({changed, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row.back();
}

std::string meant(CLI::App& app, const std::string& word) {
  std::string best;
  std::size_t least = 3;
  for (const CLI::App* sub : commands_below(app)) {
    const std::string& name = sub->get_name();
    const std::size_t d = name.starts_with(word) ? 1 : distance(lower(word), name);
    if (d < least && d < name.size()) {
      least = d;
      best = name;
    }
  }
  return best;
}

std::string full_name(const CLI::App& command) {
  const std::string path = command_path(command);
  return path.empty() ? "tg" : "tg " + path;
}

}  // namespace

std::string command_path(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  if (parent == nullptr) return {};
  const std::string above = command_path(*parent);
  return above.empty() ? command.get_name() : above + " " + command.get_name();
}

void finish_help(CLI::App& app) {
  app.formatter(std::make_shared<Formatter>());
  const auto below = commands_below(app);
  for (CLI::App* sub : below) finish_help(*sub);
  if (below.empty()) app.footer(footer_of(app));
  else app.footer(fmt::format("'{} COMMAND --help' says more of one.", full_name(app)));
}

void begin_help() { own_statuses().clear(); }

void set_exit_status(CLI::App& command, const std::string& text) { own_statuses()[&command] = text; }

std::optional<std::string> command_mistake(CLI::App& app, const std::vector<std::string>& arguments) {
  CLI::App* at = &app;
  for (const std::string& word : arguments) {
    const auto below = commands_below(*at);
    if (below.empty() || word.starts_with('-')) return std::nullopt;
    const auto next = std::find_if(below.begin(), below.end(), [&](CLI::App* sub) { return sub->get_name() == word; });
    if (next == below.end()) {
      const std::string likely = meant(*at, word);
      const std::string path = command_path(*at);
      return fmt::format("there is no command \"{}{}\"{}; see '{} --help'", path.empty() ? "" : path + " ",
                         printable(word, 40), likely.empty() ? "" : fmt::format(", perhaps \"{}\" is meant", likely),
                         full_name(*at));
    }
    at = *next;
  }
  const auto below = commands_below(*at);
  if (below.empty()) return std::nullopt;
  std::vector<std::string> names;
  for (const CLI::App* sub : below) names.push_back(sub->get_name());
  return fmt::format("{} needs a command: {}; see '{} --help'", full_name(*at), fmt::join(names, ", "), full_name(*at));
}

}  // namespace tg::cmd
