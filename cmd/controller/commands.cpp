// tg controller: serve, apply, status.
#include "cmd/controller/commands.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "cmd/controller/api_endpoints.h"
#include "cmd/controller/desired_file.h"
#include "cmd/controller/desired_json.h"
#include "cmd/controller/serve.h"
#include "cmd/secret_option.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"

namespace tg::controller {
namespace {

void say(const std::string& line) { std::fputs((line + "\n").c_str(), stderr); }

// of_options says of the option that a person has typed what a controller says of the field: "--day: …" for "days: …".
std::string of_options(const std::string& text) {
  static const std::map<std::string_view, std::string> kOthers = {
      {"state", "--to"},         {"days", "--day"},       {"claims", "--claim"},   {"scopes", "--scope"},
      {"groups", "--group"},     {"members", "--member"}, {"domains", "--domain"}, {"mfa_contexts", "--mfa-context"}};
  const std::string_view all = text;
  const std::string_view word = all.substr(0, all.find_first_of(": "));
  const std::string_view rest = all.substr(word.size());
  const bool about = rest.starts_with(": ") || rest.starts_with(" is needed") || rest.starts_with(" must be ") || rest.starts_with(" goes alone");
  const bool field = std::any_of(api_endpoints().begin(), api_endpoints().end(), [&](const ApiEndpoint& e) {
    return std::any_of(e.takes.begin(), e.takes.end(), [&](const ApiField& f) { return f.name == word; });
  });
  if (!about || !field) return text;
  const auto other = kOthers.find(word);
  std::string option = other != kOthers.end() ? other->second : "--" + std::string(word);
  std::replace(option.begin(), option.end(), '_', '-');
  return option + std::string(rest);
}

void add_serve(cmd::Command controller) {
  auto options = std::make_shared<ServeOptions>();
  cmd::Command command = controller.add_command("serve",
                                                "Run the controller, with its embedded relay, until a signal ends it",
                                                [options]() -> Result<int> { return serve(*options); });
  cmd::add_state_option(command, options->state, "controller");
  cmd::add_config_option(command);
  command.add_option("--listen", options->listen, "Where agents connect to")
      .type_name("IP:PORT")
      .capture_default_str();
  command.add_option("--relay-listen", options->relay_listen,
                      "Where the embedded relay listens; none: there is none, see 'tg relay run'")
      .type_name("IP:PORT|none")
      .capture_default_str();
  command.add_option("--public", options->public_address,
                      "How agents reach the controller; it is written into tokens (default: the address of the "
                      "interface that leads to the internet, and the port of --listen)")
      .type_name("HOST[:PORT]");
  command.add_option("--relay-public", options->relay_public,
                      "How agents reach the relay (default: the host of --public, and the port of --relay-listen)")
      .type_name("HOST[:PORT]");
  cmd::add_threads_option(command, options->threads);
  command.add_option("--ca-bundle", options->ca_bundle,
                      "CA certificates, in PEM, by which identity providers are believed (in the place of the system's)")
      .type_name("FILE")
      .capture_default_str();
  command.add_option("--password-session", options->password_session, "How long a sign-in with a password is good for")
      .type_name("DURATION")
      .default_str("12h");
  command.add_option("--certificate-lifetime", options->certificate_lifetime,
                     "How long certificates of agents are good for; they are renewed at half of it, and without the controller end with it")
      .type_name("DURATION")
      .default_str("24h");
  command.add_option("--ca-lifetime", options->ca_lifetime, "Likewise, of the CA that signs them; the root stays")
      .type_name("DURATION")
      .default_str("365d");
  command.add_option("--api", options->api,
                     "Where the HTTP API listens, over TLS, for who has an API token (default: on the unix socket in --state alone)")
      .type_name("IP[:PORT]");
  command.add_option("--api-public", options->api_public,
                     "How people reach it; API tokens carry it (default: the host of --public, and the port of --api)")
      .type_name("HOST[:PORT]");
  command.add_option("--api-certificate", options->api_certificate,
                     "Certificate and chain, in PEM, that browsers know (default: one of the controller's own CA); read anew when it changes")
      .type_name("FILE");
  command.add_option("--api-key", options->api_key, "Its key, in PEM").type_name("FILE");
  cmd::add_metrics_option(command, options->metrics);
  cmd::add_log_options(command, options->log);
  command.add_option("--max-devices", options->max_devices, "How many devices a person may have")
      .type_name("N")
      .capture_default_str();
  command.add_option("--grace", options->grace,
                      "How long grants go on being accepted past their end (an hour at most) while the controller is "
                      "away, such as 90s, 15m or 8h; at most 12h. No revocation is told in that time")
      .type_name("DURATION")
      .default_str("0s");
  command.add_option("--events-keep", options->events_keep, "How long the record of who used what is kept")
      .type_name("DURATION")
      .default_str("30d");
  command.add_option("--events-max", options->events_max, "How much of it is kept; then the oldest goes")
      .type_name("MIB")
      .in_range(1, 1u << 20)
      .capture_default_str();
  command.footer("Everything that is missing in the state directory is made: the certificate authority, the keys and\n"
                 "the database. The directory, with master.key in it, is the controller: keep a copy.");
}

struct Apply {
  Common common;
  std::string file;
  bool dry_run = false;
  bool prune = false;
};

// With --dry-run the status 2 says that there are changes, so a wrong file ends that with 1.
Result<DesiredFile> read_desired(const std::string& path, bool dry_run) {
  auto text = net::read_file(path);
  if (!text) return pass_on(text);
  DesiredFile file = parse_desired(*text, path);
  for (const std::string& warning : file.warnings) say("tg: warning: " + printable(warning, 2000));
  if (file.errors.empty()) return file;
  for (std::size_t i = 0; i + 1 < file.errors.size(); ++i) say("tg: " + printable(file.errors[i], 2000));
  return fail(dry_run ? Errc::malformed : Errc::invalid_argument, file.errors.back());
}

// in_file returns the controller's findings of one kind as lines about the file.
std::vector<std::string> in_file(const Json& answer, const char* kind, const DesiredFile& file, const std::string& path) {
  std::vector<std::string> out;
  auto found = answer.contains(kind) ? problems_from_json(answer[kind]) : Result<std::vector<Problem>>();
  if (!found) return {found.error().text};
  for (const Problem& p : file.places.in_file(std::move(*found))) out.push_back(printable(line_of(p, path), 2000));
  return out;
}

// refuse says all of `lines`, the last one as the command's error.
tl::unexpected<Error> refuse(Errc code, const std::vector<std::string>& lines) {
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) say("tg: " + lines[i]);
  return fail(code, lines.back());
}

Result<int> apply(const Apply& options) {
  auto file = read_desired(options.file, options.dry_run);
  if (!file) return pass_on(file);
  const DesiredState* const state = &file->state;
  auto before = state_of(options.common);
  if (!before) return pass_on(before);
  const std::vector<Problem> warnings =
      overlaps(outcome(*before, *state, options.prune), touched_by(plan(*before, *state, options.prune)));
  auto answer = options.common.ask({{"type", "apply"}, {"state", to_json(*state)}, {"dry_run", options.dry_run},
                                    {"prune", options.prune}});
  if (!answer) return pass_on(answer);
  const auto lines = [&](const char* kind) { return in_file(*answer, kind, *file, options.file); };
  if (const auto problems = lines("problems"); !problems.empty()) return refuse(Errc::conflict, problems);
  for (const Problem& p : file->places.in_file(warnings)) say("tg: warning: " + printable(line_of(p, options.file), 2000));
  if (auto failures = lines("failures"); !failures.empty()) {
    failures.push_back(fmt::format("{} of its tests would not hold, so nothing was changed",
                                   failures.size() == 1 ? "one" : std::to_string(failures.size())));
    return refuse(Errc::failed, failures);
  }
  if (auto printed = print_changes(options.common, *answer, options.dry_run); !printed) return pass_on(printed);
  return options.dry_run && !(*answer)["changes"].empty() ? 2 : 0;
}

void add_apply(cmd::Command controller) {
  auto options = std::make_shared<Apply>();
  cmd::Command command = controller.add_command("apply",
                                                "Make a file's networks, connectors, relays, providers, policies, users, groups and Resources true",
                                                [options] { return apply(*options); });
  options->common.add_to(command);
  command.add_option("FILE", options->file, "TOML file with the desired state; /dev/stdin works too").required();
  command.add_flag("--dry-run", options->dry_run,
                    "Only print the plan; exit 0 when there is nothing to do, 2 when there is, 1 for a wrong file");
  command.add_flag("--prune", options->prune, "Also remove what the file does not name");
  command.footer(R"(All or nothing, in one transaction; the same file twice changes nothing. Agents are told at once.

  [[network]]
  name = "home"
  [[connector]]
  name = "home-1"
  network = "home"
  [[relay]]                           # one of its own, beside the controller's
  name = "relay-1"
  address = "relay.example.com:8444"  # how agents reach it
  [[identity-provider]]               # people sign in with: tg client login
  name = "company"
  issuer = "https://id.example.com"   # OpenID Connect, exactly as it calls itself
  client_id = "tg"
  scopes = ["openid", "email", "groups"]   # default: openid, email, profile
  groups_claim = "groups"             # default: its groups are not asked for
  domains = ["example.com"]           # whose people need not be listed as users
  session = "12h"                     # how long a sign-in is good for
  mfa_contexts = ["phr"]              # its words (acr) for a second factor, beside what amr says
  [[policy]]                          # for a Resource, or for what is reached through a group: policy = "sensitive"
  name = "sensitive"                  # all that is written must be so; nothing is needed
  session = "8h"                      # the sign-in is younger
  mfa = true                          # it has shown a second factor
  trusted_device = true               # an administrator trusts the device
  days = ["mon-fri"]
  hours = "08:00-18:00"
  time_zone = "Europe/Berlin"         # of days and hours; default: UTC
  until = "2026-12-31T18:00Z"         # after which it is over
  approval = "4h"                     # somebody approved a request, for this long at most
  [[user]]
  email = "alice@example.com"         # blocked = true shuts somebody out; role = "auditor", "admin" or "owner"
  [[service]]                         # a machine without a person; it comes in by a key
  name = "ci"
  [[group]]
  name = "family"
  members = ["alice@example.com", "ci"]
  claims = { company = ["engineering"] }   # members too, as of their last sign-in
  [[resource]]
  name = "NAS"
  network = "home"
  address = "nas.home.int"            # FQDN, wildcard (* and ?), IP or CIDR
  alias = "nas.tg"                    # optional second name, at least one dot
  groups = ["family"]
  protocols = { tcp = ["22", "8000-8100"], udp = "all", icmp = true }   # default: everything
  [[test]]                            # must hold afterwards, or nothing is changed
  user = "alice@example.com"
  can = ["nas.home.int:22", "nas.home.int/icmp"]
  cannot = ["nas.home.int:23", "10.0.0.7:53/udp"])");
  command.exit_status("0 done, or with --dry-run: there is nothing to do\n"
                      "  1 failed: a test does not hold; with --dry-run also: a wrong file\n"
                      "  2 wrong usage or a wrong file, or with --dry-run: there are changes\n"
                      "  3 the controller is not running, 5 denied, 6 conflict");
}

void add_export(cmd::Command controller) {
  auto common = std::make_shared<Common>();
  cmd::Command command = controller.add_command("export",
                                                "Print what is true now as a file for apply, which then changes nothing",
                                                [common]() -> Result<int> {
    auto state = state_of(*common);
    if (!state) return pass_on(state);
    if (common->json) cmd::print_json({{"state", to_json(*state)}});
    else std::fputs(to_toml(*state).c_str(), stdout);
    return 0;
  });
  common->add_to(command);
}

std::string status_text(const Json& s) {
  const Json& relay = s["relay"];
  const std::string embedded =
      relay.is_null() ? std::string("none embedded")
                      : fmt::format("{}, which they reach as {}; {} connectors, {} connections",
                                    relay["listen"].get<std::string>(), relay["public"].get<std::string>(),
                                    relay["connectors"].dump(), relay["joined"].dump());
  const auto counts = [&](const char* key) {
    return fmt::format("{} of {} online", s[key]["online"].dump(), s[key]["total"].dump());
  };
  const Json api = s.contains("api") ? s["api"] : Json();
  const std::string web = api.is_null() ? std::string("on this machine alone; see 'tg controller serve --api'")
                                        : fmt::format("{}, which people reach as https://{}{}/", api["listen"].get<std::string>(),
                                                      api["public"].get<std::string>(), kApiBase);
  const std::string sign_in = s["identity_providers"].empty()
                                  ? std::string("with tokens only: no identity provider")
                                  : fmt::format("tg client login {}", s["address"].get<std::string>());
  const std::string events = s.contains("events") ? text_or(s["events"], "problem", "") : "";
  const std::time_t since = s["started"].get<std::time_t>();
  return fmt::format(
      "controller  {} (tg {}, process {}), up since {:%Y-%m-%d %H:%M:%S} UTC\n"
      "agents      {}, which they reach as {}\n"
      "relay       {}\n"
      "API         {}\n"
      "sign in     {}\n"
      "state       {}, revision {}\n"
      "networks    {}\nresources   {}\nusers       {}\nconnectors  {}\nrelays      {}\ndevices     {}\n",
      s["instance"].get<std::string>(), s["version"].get<std::string>(), s["process"].dump(), fmt::gmtime(since),
      s["listen"].get<std::string>(), s["public"].get<std::string>(), embedded, web, sign_in,
      s["state"].get<std::string>(), s["revision"].dump(), s["networks"].dump(), s["resources"].dump(),
      s["users"].dump(), counts("connectors"), counts("relays"), counts("devices")) +
         (text_or(s, "problem", "").empty() ? "" : "problem     " + text_or(s, "problem", "") + "\n") +
         (events.empty() ? "" : "events      not kept: " + printable(events, 500) + "\n");
}

void add_status(cmd::Command controller) {
  auto common = std::make_shared<Common>();
  cmd::Command command = controller.add_command("status", "Say how the running controller is",
                                                [common]() -> Result<int> {
    auto answer = common->ask({{"type", "status"}});
    if (!answer) return pass_on(answer);
    if (common->json) cmd::print_json((*answer)["status"]);
    else std::fputs(status_text((*answer)["status"]).c_str(), stdout);
    return 0;
  });
  common->add_to(command);
}

}  // namespace

void Common::add_to(cmd::Command command) {
  cmd::add_state_option(command, state, "controller");
  command.add_option("--api-token", api_token, "Ask the controller of this API token, wherever it is (or the token itself in TG_API_TOKEN; -: standard input)")
      .type_name("FILE");
  command.add_option("--controller", controller, "Where its API is, in place of what the token says; # and a pin say what it is known by")
      .type_name("URL");
  command.add_option("--controller-ca", controller_ca, "CA certificates, in PEM, by which it is believed, in place of a pin").type_name("FILE");
  cmd::add_config_option(command);
  cmd::add_json_option(command, json);
  cmd::add_timeout_option(command, timeout, std::chrono::seconds(10));
}

// Who called sudo is told for the audit log.
Result<Json> Common::ask(const Json& question) const {
  if (!whom_) {
    Whom whom{state, {}, controller, {}};
    if (!api_token.empty()) {
      auto token = cmd::secret_of("--api-token", api_token, net::Loop::now() + timeout);
      if (!token) return pass_on(token);
      whom.token = std::move(token->text);
    }
    if (!controller_ca.empty()) {
      auto ca = net::read_file(controller_ca);
      if (!ca) return fail(ca.error().code, "--controller-ca: " + ca.error().text);
      whom.ca = std::move(*ca);
    }
    whom_ = std::move(whom);
  }
  Json asked = question;
  if (const char* user = std::getenv("SUDO_USER"); user != nullptr && ::getuid() == 0) asked["sudo"] = user;
  auto answer = ask_controller(*whom_, asked, timeout);
  if (answer) return answer;
  return fail(answer.error().code, of_options(answer.error().text));
}

Result<DesiredState> state_of(const Common& common) {
  auto answer = common.ask({{"type", "state"}});
  if (!answer) return pass_on(answer);
  return desired_from_json((*answer)["state"]);
}

std::set<std::string> touched_by(const std::vector<Change>& changes) {
  std::set<std::string> out;
  for (const Change& c : changes) {
    if (c.kind == "resource" && c.verb != Change::Verb::remove) out.insert(c.name);
  }
  return out;
}

Result<> print_changes(const Common& common, const Json& answer, bool planned) {
  const Json& list = answer["changes"];
  if (common.json) {
    cmd::print_json({{"changes", list}, {"applied", !planned}});
    return {};
  }
  int counts[3] = {};
  for (const Json& one : list) {
    auto change = change_from_json(one);
    if (!change) return pass_on(change);
    ++counts[static_cast<int>(change->verb)];
    std::puts(printable(to_string(*change), 2000).c_str());
  }
  std::fflush(stdout);
  if (list.empty()) say("nothing to change");
  else say(fmt::format("{}{} created, {} updated, {} removed", planned ? "plan: " : "", counts[0], counts[1],
                       counts[2]));
  return {};
}

void add_commands(cmd::Command app) {
  cmd::Command controller = app.add_group("controller", "Say who may reach what, and let agents in");
  add_serve(controller);
  add_apply(controller);
  add_export(controller);
  add_status(controller);
  add_audit_commands(controller);
  add_event_commands(controller);
  add_backup_commands(controller);
  add_entry_commands(controller);
}

}  // namespace tg::controller
