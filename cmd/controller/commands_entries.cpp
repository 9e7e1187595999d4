// tg controller
// {network,connector,relay,identity-provider,policy,user,service,key,api-token,group,resource,device,session,request}
// {list,show,create,update,delete}, and token, secret, approve and deny.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "cmd/controller/commands.h"
#include "cmd/controller/desired_json.h"
#include "cmd/controller/limits.h"
#include "cmd/controller/table.h"
#include "core/json.h"
#include "core/text.h"
#include "net/files.h"
#include "net/loop.h"

namespace tg::controller {
namespace {

// Column is a heading and the key of the item under it.
struct Column {
  const char* heading;
  const char* key;
};

struct Kind {
  const char* name;
  const char* what;                // the NAME argument in help
  std::vector<Column> columns;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"network", "NAME", {{"NAME", "name"}, {"CONNECTORS", "connectors"}, {"ONLINE", "connectors_online"},
                           {"RESOURCES", "resources"}}},
      {"connector", "NAME", {{"NAME", "name"}, {"NETWORK", "network"}, {"ONLINE", "online"}, {"FROM", "from"},
                             {"LAST SEEN", "last_seen"}, {"ID", "id"}}},
      {"relay", "NAME", {{"NAME", "name"}, {"ADDRESS", "address"}, {"ONLINE", "online"}, {"FROM", "from"},
                         {"LAST SEEN", "last_seen"}, {"ID", "id"}}},
      {"identity-provider", "NAME", {{"NAME", "name"}, {"ISSUER", "issuer"}, {"CLIENT ID", "client_id"}, {"SECRET", "secret"},
                                     {"SESSION", "lifetime"}, {"DOMAINS", "domains"}}},
      {"policy", "NAME", {{"NAME", "name"}, {"DEMANDS", "demands"}, {"GROUPS", "groups"}, {"RESOURCES", "resources"}}},
      {"user", "EMAIL", {{"EMAIL", "email"}, {"STATE", "state"}, {"ROLE", "role"}, {"GROUPS", "groups"}, {"DEVICES", "devices"},
                          {"ACCOUNTS", "accounts"}}},
      {"service", "NAME", {{"NAME", "name"}, {"STATE", "state"}, {"ROLE", "role"}, {"GROUPS", "groups"}, {"KEYS", "keys"},
                           {"DEVICES", "devices"}}},
      {"key", "KEY", {{"ID", "id"}, {"SERVICE", "service"}, {"NAME", "name"}, {"STATE", "state"}, {"EXPIRES", "expires"},
                      {"LAST USED", "last_used"}, {"DEVICES", "devices"}}},
      {"api-token", "TOKEN", {{"ID", "id"}, {"USER", "user"}, {"NAME", "name"}, {"SCOPES", "scopes"}, {"STATE", "state"},
                              {"EXPIRES", "expires"}, {"LAST USED", "last_used"}}},
      {"group", "NAME", {{"NAME", "name"}, {"MEMBERS", "members"}, {"BY CLAIM", "by_claim"}, {"RESOURCES", "resources"},
                          {"POLICY", "policy"}}},
      {"resource", "NAME", {{"ID", "id"}, {"NAME", "name"}, {"NETWORK", "network"}, {"ADDRESS", "address"},
                            {"ALIAS", "alias"},
                            {"GROUPS", "groups"}, {"ALLOWED", "rules"}, {"POLICY", "policy"}}},
      {"device", "DEVICE", {{"ID", "id"}, {"NAME", "name"}, {"USER", "user"}, {"STATE", "state"}, {"ACCESS", "access"},
                            {"ONLINE", "online"}, {"FROM", "from"},
                            {"LAST SEEN", "last_seen"}}},
      {"session", "DEVICE", {{"USER", "user"}, {"DEVICE", "device"}, {"PROVIDER", "provider"}, {"STARTED", "started"},
                             {"EXPIRES", "expires"}, {"ID", "id"}}},
      {"request", "ID", {{"ID", "id"}, {"USER", "user"}, {"RESOURCE", "resource"}, {"STATE", "state"}, {"ASKED", "asked"},
                         {"FOR", "wanted"}, {"UNTIL", "until"}, {"REASON", "reason"}}},
  };
  return all;
}

std::string cell(const Json& item, const std::string& key) {
  const auto found = item.find(key);
  if (found == item.end() || found->is_null()) return key == "last_seen" || key == "last_used" ? "never" : "";
  static const std::set<std::string> kTimes = {"last_seen", "last_used", "created", "started", "expires", "asked", "decided", "until"};
  if (kTimes.contains(key)) {
    return utc_text(UnixTime(std::chrono::seconds(found->get<std::int64_t>())));
  }
  if (found->is_string()) return found->get<std::string>();
  if (found->is_boolean()) return found->get<bool>() ? "yes" : "no";
  if (!found->is_array()) return json_text(*found);
  std::string out;
  for (const Json& one : *found) {
    out += (out.empty() ? "" : ", ") + (one.is_string() ? one.get<std::string>() : json_text(one));
  }
  return out;
}

// Request is what one of these commands asks for.
struct Request {
  Common common;
  std::string name;
  Json fields = Json::object();
  // Values of options, before they become fields.
  std::string network, address, alias, tcp, udp, state, role, rename;
  std::string issuer, client_id, email_claim, groups_claim, session, policy, hours, time_zone, until, approval, for_how_long;
  std::vector<std::string> groups, members, add, remove, claims, scopes, domains, days, mfa_contexts;
  bool icmp = true, trust_email = false, forget_accounts = false, mfa = false, trusted_device = false, trusted = false;
  std::string token_expires = "10m";
  std::string key_name, key_expires;
};
using Shared = std::shared_ptr<Request>;

std::string plural(const std::string& kind) { return kind == "policy" ? "policies" : kind + "s"; }

void add_list(cmd::Command group, const Kind& kind) {
  auto r = std::make_shared<Request>();
  cmd::Command command = group.add_command("list", fmt::format("List the {}", plural(kind.name)),
                                           [r, &kind]() -> Result<int> {
    auto answer = r->common.ask({{"type", "list"}, {"kind", kind.name}});
    if (!answer) return pass_on(answer);
    const Json& items = (*answer)["items"];
    if (r->common.json) {
      std::string key = plural(kind.name);
      std::replace(key.begin(), key.end(), '-', '_');
      cmd::print_json({{key, items}});
      return 0;
    }
    std::vector<std::string> headings;
    std::vector<std::vector<std::string>> rows;
    for (const Column& c : kind.columns) headings.push_back(c.heading);
    for (const Json& item : items) {
      auto& row = rows.emplace_back();
      for (const Column& c : kind.columns) row.push_back(cell(item, c.key));
    }
    std::fputs(table(headings, rows).c_str(), stdout);
    return 0;
  });
  r->common.add_to(command);
}

void add_show(cmd::Command group, const Kind& kind) {
  auto r = std::make_shared<Request>();
  cmd::Command command = group.add_command("show", fmt::format("Show one {}", kind.name),
                                           [r, &kind]() -> Result<int> {
    auto answer = r->common.ask({{"type", "show"}, {"kind", kind.name}, {"name", r->name}});
    if (!answer) return pass_on(answer);
    const Json& item = (*answer)["item"];
    if (r->common.json) {
      cmd::print_json(item);
      return 0;
    }
    for (const auto& [key, value] : item.items()) {
      if (key != "protocols") std::puts(fmt::format("{:<18}{}", key, printable(cell(item, key), 4000)).c_str());
    }
    return 0;
  });
  r->common.add_to(command);
  command.add_option(kind.what, r->name, "Which one").required();
}

Json ports_field(const std::string& text) {
  if (text == "all" || text == "none") return text;
  Json out = Json::array();
  std::size_t from = 0;
  while (from <= text.size()) {
    const std::size_t to = std::min(text.find(',', from), text.size());
    out.push_back(text.substr(from, to - from));
    from = to + 1;
  }
  return out;
}

// claims_field makes {PROVIDER: [VALUE, …]} of PROVIDER=VALUE. One "" alone stands for none.
Json claims_field(const std::vector<std::string>& texts) {
  Json out = Json::object();
  for (const std::string& text : texts) {
    const auto equals = text.find('=');
    if (texts.size() == 1 && text.empty()) break;
    out[text.substr(0, equals)].push_back(equals == std::string::npos ? "" : text.substr(equals + 1));
  }
  return out;
}

// given puts an option's value among the fields when the option was used.
void given(cmd::Command command, Request& r, const char* option, const char* key, const Json& value) {
  if (command.given(option)) r.fields[key] = value;
}

void collect_fields(cmd::Command command, Request& r) {
  given(command, r, "--network", "network", r.network);
  given(command, r, "--address", "address", r.address);
  given(command, r, "--alias", "alias", r.alias);
  given(command, r, "--group", "groups", r.groups);
  given(command, r, "--tcp", "tcp", ports_field(r.tcp));
  given(command, r, "--udp", "udp", ports_field(r.udp));
  given(command, r, "--icmp", "icmp", r.icmp);
  given(command, r, "--member", "members", r.members);
  given(command, r, "--add", "add", r.add);
  given(command, r, "--remove", "remove", r.remove);
  given(command, r, "--to", "state", r.state);
  given(command, r, "--role", "role", r.role);
  given(command, r, "--rename", "rename", r.rename);
  given(command, r, "--claim", "claims", claims_field(r.claims));
  given(command, r, "--issuer", "issuer", r.issuer);
  given(command, r, "--client-id", "client_id", r.client_id);
  given(command, r, "--scope", "scopes", r.scopes);
  given(command, r, "--email-claim", "email_claim", r.email_claim);
  given(command, r, "--trust-email", "trust_email", r.trust_email);
  given(command, r, "--groups-claim", "groups_claim", r.groups_claim);
  given(command, r, "--domain", "domains", r.domains);
  given(command, r, "--session", "session", r.session);
  given(command, r, "--mfa-context", "mfa_contexts", r.mfa_contexts);
  given(command, r, "--policy", "policy", r.policy);
  given(command, r, "--mfa", "mfa", r.mfa);
  given(command, r, "--trusted-device", "trusted_device", r.trusted_device);
  given(command, r, "--day", "days", r.days);
  given(command, r, "--hours", "hours", r.hours);
  given(command, r, "--time-zone", "time_zone", r.time_zone);
  given(command, r, "--until", "until", r.until);
  given(command, r, "--approval", "approval", r.approval);
  given(command, r, "--forget-accounts", "forget_accounts", r.forget_accounts);
}

void add_provider_fields(cmd::Command command, Request& r, bool update) {
  command.add_option("--issuer", r.issuer, "Its https address, exactly as it calls itself").type_name("URL").required(!update);
  command.add_option("--client-id", r.client_id, "The name by which it knows tg").type_name("ID").required(!update);
  command.add_option("--scope", r.scopes, "What is asked for (repeat it; default: openid, email, profile)").type_name("SCOPE");
  command.add_option("--email-claim", r.email_claim, "Where it tells the e-mail address (default: email)").type_name("CLAIM");
  command.add_option("--trust-email", r.trust_email, "Whether its addresses are taken without its word that they are verified")
      .type_name("true|false");
  command.add_option("--groups-claim", r.groups_claim, "Where it tells a person's groups; \"\" for nowhere").type_name("CLAIM");
  command.add_option("--domain", r.domains, "Whose addresses need not be listed as users (repeat it)").type_name("DOMAIN");
  command.add_option("--session", r.session, "How long a sign-in is good for (default: 12h)").type_name("DURATION");
  command.add_option("--mfa-context", r.mfa_contexts, "Its word (acr) for a sign-in with a second factor (repeat it)").type_name("ACR");
}

void add_policy_fields(cmd::Command command, Request& r) {
  command.add_option("--session", r.session, "The sign-in must be younger; \"\" for any").type_name("DURATION");
  command.add_option("--mfa", r.mfa, "Whether it must have shown a second factor").type_name("true|false");
  command.add_option("--trusted-device", r.trusted_device, "Whether an administrator must trust the device").type_name("true|false");
  command.add_option("--day", r.days, "Only on these days: mon, or mon-fri (repeat it)").type_name("DAYS");
  command.add_option("--hours", r.hours, "Only from one time to another, as in 08:00-18:00; \"\" for any").type_name("FROM-TO");
  command.add_option("--time-zone", r.time_zone, "Of days and hours, as in Europe/Berlin (default: UTC)").type_name("ZONE");
  command.add_option("--until", r.until, "Only until then, as in 2026-12-31T18:00Z; \"\" for ever").type_name("TIME");
  command.add_option("--approval", r.approval, "Only after a request was approved, and at most for so long; \"\" for without")
      .type_name("DURATION");
}

void add_fields(cmd::Command command, Request& r, const std::string& kind, bool update) {
  if (update && kind != "device") {
    const char* help = kind == "key" ? "What it is called" : "Another name; it stays what it is for agents. Goes alone";
    command.add_option("--rename", r.rename, help).type_name(kind == "user" ? "EMAIL" : "NAME");
  }
  if (kind == "connector" || kind == "resource") {
    command.add_option("--network", r.network, "Network that it belongs to").type_name("NAME").required(!update);
  }
  if (kind == "relay") {
    command.add_option("--address", r.address, "Where agents find it").type_name("HOST[:PORT]").required(!update);
  }
  if (kind == "group") {
    const char* help = update ? "Exactly these members (repeat it)" : "A member (repeat it)";
    command.add_option("--member", r.members, help).type_name("EMAIL|SERVICE");
    if (update) command.add_option("--add", r.add, "One member more (repeat it)").type_name("EMAIL|SERVICE");
    if (update) command.add_option("--remove", r.remove, "One member less (repeat it)").type_name("EMAIL|SERVICE");
    command.add_option("--claim", r.claims, "Members are also those of whom a provider says this (repeat it; \"\" for nobody)")
        .type_name("PROVIDER=VALUE");
  }
  if (kind == "identity-provider") add_provider_fields(command, r, update);
  if (kind == "policy") add_policy_fields(command, r);
  if (kind == "group" || kind == "resource") {
    const char* help = kind == "group" ? "What it takes to reach something through it; \"\" for none"
                                       : "What it takes to reach it; \"\" for none";
    command.add_option("--policy", r.policy, help).type_name("POLICY");
  }
  if (kind == "user" && update) {
    command.add_option("--to", r.state, "active or blocked; a blocked user's flows end at once, and he cannot sign in")
        .type_name("STATE")
        .one_of({"active", "blocked"});
    command.add_flag("--forget-accounts", r.forget_accounts,
                     "Let the next sign-in go by the e-mail address again: the person has a new account. Goes alone");
  }
  if (kind == "service" && update) {
    command.add_option("--to", r.state, "active or blocked; a blocked one's flows end at once, and its keys let nobody in")
        .type_name("STATE")
        .one_of({"active", "blocked"});
  }
  if (kind == "user" || kind == "service") {
    const char* help = "What it may do here: see its own, see all, change most, or change all (default: member)";
    command.add_option("--role", r.role, help)
        .type_name("ROLE")
        .one_of({"member", "auditor", "admin", "owner"});
  }
  if (kind == "resource") {
    command.add_option("--address", r.address, "FQDN, wildcard (* and ?), IP or CIDR")
        .type_name("ADDRESS")
        .required(!update);
    command.add_option("--alias", r.alias, "Second name, with at least one dot; \"\" for none").type_name("NAME");
    command.add_option("--group", r.groups, "Who may reach it (repeat it)").type_name("GROUP");
    command.add_option("--tcp", r.tcp, "TCP ports: all, none or a list such as 22,8000-8100").type_name("PORTS");
    command.add_option("--udp", r.udp, "UDP ports, likewise").type_name("PORTS");
    command.add_option("--icmp", r.icmp, "Whether it may be pinged").type_name("true|false");
  }
  if (kind == "device") {
    command.add_option("--to", r.state, "pending, trusted (see policies) or blocked; a blocked device loses its flows at once")
        .type_name("STATE")
        .one_of({"pending", "trusted", "blocked"})
        .required();
  }
}

// warn_of_overlaps says with which others a Resource shares hosts that was just made or changed.
void warn_of_overlaps(const Request& r, const std::string& kind, const Json& changes) {
  if (kind != "resource" || changes.empty()) return;
  std::vector<Change> done;
  for (const Json& one : changes) {
    if (auto change = change_from_json(one)) done.push_back(std::move(*change));
  }
  auto state = state_of(r.common);
  if (!state) return;   // it was made all the same
  for (const Problem& p : overlaps(*state, touched_by(done))) {
    std::fputs((printable(fmt::format("tg: warning: {}: {}", p.key, p.text), 2000) + "\n").c_str(), stderr);
  }
}

void add_edit(cmd::Command group, const Kind& kind, const std::string& verb, const std::string& help) {
  auto r = std::make_shared<Request>();
  auto self = std::make_shared<std::optional<cmd::Command>>();
  cmd::Command command = group.add_command(verb, help, [r, self, verb, &kind]() -> Result<int> {
    collect_fields(**self, *r);
    if (verb == "update" && r->fields.empty()) return fail(Errc::invalid_argument, "nothing to change; see --help");
    auto answer = r->common.ask({{"type", verb}, {"kind", kind.name}, {"name", r->name}, {"fields", r->fields}});
    if (!answer) return pass_on(answer);
    if (auto printed = print_changes(r->common, *answer, false); !printed) return pass_on(printed);
    warn_of_overlaps(*r, kind.name, (*answer)["changes"]);
    return 0;
  });
  *self = command;
  r->common.add_to(command);
  command.add_option(kind.what, r->name, "Which one").required();
  if (verb != "delete") add_fields(command, *r, kind.name, verb == "update");
}

void add_token(cmd::Command group, const char* verb, const std::string& role, const char* what, const std::string& help) {
  auto r = std::make_shared<Request>();
  cmd::Command command = group.add_command(verb, help, [r, role]() -> Result<int> {
    Json request = {{"type", "token"}, {"role", role}, {"subject", r->name}, {"expires", r->token_expires}};
    if (r->trusted) request["trusted"] = true;
    auto answer = r->common.ask(request);
    if (!answer) return pass_on(answer);
    if (r->common.json) cmd::print_json({{"token", (*answer)["token"]}, {"expires", (*answer)["expires"]}});
    else std::puts((*answer)["token"].get<std::string>().c_str());
    return 0;
  });
  r->common.add_to(command);
  command.add_option(what, r->name, role == "device" ? "Whose device" : "Which " + role).required();
  command.add_option("--expires", r->token_expires, "How long the token is good for; a number alone is minutes")
      .type_name("DURATION")
      .capture_default_str();
  if (role == "device") command.add_flag("--trusted", r->trusted, "The device is trusted from the beginning");
}

void add_decision(cmd::Command group, const std::string& verb, const char* help) {
  auto r = std::make_shared<Request>();
  cmd::Command command = group.add_command(verb, help, [r, verb]() -> Result<int> {
    Json request = {{"type", verb}, {"id", r->name}};
    if (!r->for_how_long.empty()) request["for"] = r->for_how_long;
    auto answer = r->common.ask(request);
    if (!answer) return pass_on(answer);
    if (auto printed = print_changes(r->common, *answer, false); !printed) return pass_on(printed);
    return 0;
  });
  r->common.add_to(command);
  command.add_option("ID", r->name, "Which one").required();
  if (verb == "approve") {
    command.add_option("--for", r->for_how_long, "For how long from now (default: what was asked for)").type_name("DURATION");
  }
}

void add_key_options(cmd::Command command, Request& r, const char* expires) {
  r.key_expires = expires;
  command.add_option("--name", r.key_name, "What it is called in lists").type_name("NAME");
  command.add_option("--expires", r.key_expires, "How long it is good for").type_name("DURATION").capture_default_str();
}

// print_once prints what the controller answers under `what`, alone or with the rest as JSON.
Result<int> print_once(const Common& common, const Json& request, const char* what) {
  auto answer = common.ask(request);
  if (!answer) return pass_on(answer);
  if (common.json) cmd::print_json({{what, (*answer)[what]}, {"id", (*answer)["id"]}, {"expires", (*answer)["expires"]}});
  else std::puts((*answer)[what].get<std::string>().c_str());
  return 0;
}

void add_key(cmd::Command group) {
  auto r = std::make_shared<Request>();
  cmd::Command command = group.add_command("create", "Print a key that lets in machines of a service, as many as come; it is shown only now",
                                           [r]() -> Result<int> {
    return print_once(r->common, {{"type", "key"}, {"service", r->name}, {"name", r->key_name}, {"expires", r->key_expires}},
                      "key");
  });
  r->common.add_to(command);
  command.add_option("SERVICE", r->name, "Whose key").required();
  add_key_options(command, *r, "365d");
}

void add_api_token(cmd::Command group) {
  auto r = std::make_shared<Request>();
  const char* help = "Print a token with which a program speaks to the API for somebody; it is shown only now";
  cmd::Command command = group.add_command("create", help, [r]() -> Result<int> {
    return print_once(r->common, {{"type", "api_token"}, {"user", r->name}, {"name", r->key_name}, {"scopes", r->scopes},
                                  {"expires", r->key_expires}}, "token");
  });
  r->common.add_to(command);
  command.add_option("USER", r->name, "For whom: an e-mail address or a service; his role is the most that it may do").required();
  command.add_option("--scope", r->scopes, "What it may do, as in resources:write or *:read (repeat it)")
      .type_name("AREA:read|AREA:write")
      .required();
  add_key_options(command, *r, "90d");
}

void add_secret(cmd::Command group) {
  auto r = std::make_shared<Request>();
  cmd::Command command = group.add_command("secret", "Take the client secret from standard input; nothing there takes it away",
                                           [r]() -> Result<int> {
    auto text = net::read_secret("-", kProviderSecretMax, net::Loop::now() + r->common.timeout);
    if (!text) return pass_on(text);
    while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
    Json question = {{"type", "secret"}, {"name", r->name}};
    if (text->empty()) question["remove"] = true;
    else question["secret"] = *text;
    auto answer = r->common.ask(question);
    if (!answer) return pass_on(answer);
    if (r->common.json) cmd::print_json({{"name", r->name}, {"secret", text->empty() ? "none" : "hidden"}});
    else std::fputs(text->empty() ? "the secret is gone\n" : "the secret is kept\n", stderr);
    return 0;
  });
  r->common.add_to(command);
  command.add_option("NAME", r->name, "Which one").required();
}

// Which of the verbs a kind has in the common way.
bool has(const std::string& kind, const std::string& verb) {
  if (kind == "key") return verb != "create";
  if (kind == "session" || kind == "api-token") return verb == "delete";
  if (kind == "request") return false;
  return kind != "device" || verb != "create";
}

}  // namespace

void add_entry_commands(cmd::Command controller) {
  for (const Kind& kind : kinds()) {
    const std::string name = kind.name;
    cmd::Command group = controller.add_group(name, fmt::format("The {}", plural(name)));
    add_list(group, kind);
    add_show(group, kind);
    const char* a = name == "identity-provider" ? "an" : "a";
    if (has(name, "create")) add_edit(group, kind, "create", fmt::format("Make {} {}", a, name));
    const char* block = "Trust a device, block it, or let it in again";
    if (has(name, "update")) add_edit(group, kind, "update", name == "device" ? block : fmt::format("Change {} {}", a, name));
    const char* end = "End the session of a device: it reaches nothing before the next sign-in";
    const char* revoke = "Revoke a key, and let out at once the machines that came in by it";
    const char* forget = "Revoke an API token: it opens nothing any more";
    std::string gone = fmt::format("Delete {} {}", a, name);
    if (name == "session") gone = end;
    if (name == "key") gone = revoke;
    if (name == "api-token") gone = forget;
    if (name == "request") {
      add_decision(group, "approve", "Let the user reach the Resource for a while");
      add_decision(group, "deny", "Refuse, or end at once what was approved");
      continue;
    }
    add_edit(group, kind, "delete", gone);
    if (name == "key") add_key(group);
    if (name == "api-token") add_api_token(group);
    if (name == "identity-provider") add_secret(group);
    if (name == "user") add_password_commands(group);
    if (name == "connector") {
      add_token(group, "token", "connector", "NAME", "Print a token that lets the connector in, once");
    }
    if (name == "relay") add_token(group, "token", "relay", "NAME", "Print a token that lets the relay in, once");
    if (name == "device") {
      const char* help = "Print a token that lets in one device of the user, once";
      add_token(group, "token", "device", "USER", help);
      add_token(group, "create", "device", "USER", std::string(help) + ": as token, since a device makes itself");
    }
  }
}

}  // namespace tg::controller
