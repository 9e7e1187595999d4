// tg client report [FILE]
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "cmd/agent_identity.h"
#include "cmd/client/commands.h"
#include "cmd/client/netcheck.h"
#include "cmd/client/system.h"
#include "core/json.h"
#include "core/redact.h"
#include "core/text.h"
#include "dns/resolv_conf.h"
#include "net/files.h"
#include "net/netlink.h"

namespace tg::client {
namespace {

constexpr std::size_t kLogLines = 200;

struct Report {
  Common common;
  NetcheckOptions options;
  std::string file;
  bool full = false;
};

struct Section {
  std::string title;
  std::string text;
};

std::string now_text(const char* format) {
  const std::time_t now = net::Loop::wall().time_since_epoch().count();
  return fmt::format(fmt::runtime(format), fmt::gmtime(now));
}

std::string file_text(const std::string& path) {
  const auto text = net::read_file(path);
  return text ? *text : text.error().text + "\n";
}

std::string about() {
  utsname system{};
  ::uname(&system);
  std::string out = fmt::format("tg         {}\nmade       {} UTC\nkernel     {} {} {}\n", TG_VERSION,
                                now_text("{:%Y-%m-%d %H:%M:%S}"), system.sysname, system.release, system.machine);
  const auto release = net::read_file("/etc/os-release");
  const std::size_t at = release ? release->find("PRETTY_NAME=") : std::string::npos;
  if (at != std::string::npos)
    out += "system     " + release->substr(at + 12, release->find('\n', at) - at - 12) + "\n";
  return out +
         fmt::format("user       {}\n", ::geteuid() == 0 ? "root" : "not root: some of this could not be looked at");
}

std::string links_text(const std::vector<net::Link>& links, const std::vector<net::LinkAddress>& addresses) {
  std::string out;
  for (const net::Link& l : links) {
    out +=
        fmt::format("{}: MTU {}{}{}", l.name, l.mtu, l.up ? ", up" : ", down", l.up && !l.running ? ", no cable" : "");
    for (const net::LinkAddress& a : addresses) {
      if (a.index == l.index) out += fmt::format(", {}/{}", a.address.to_string(), a.prefix);
    }
    out += "\n";
  }
  return out;
}

std::string routes_text(const std::vector<net::Route>& routes, const std::vector<net::Link>& links) {
  std::string out;
  for (const net::Route& r : routes) {
    if (r.table == net::kTableLocal) continue;
    const auto link = std::find_if(links.begin(), links.end(), [&](const net::Link& l) { return l.index == r.index; });
    out += fmt::format("{}{}{}{}{}{}\n", r.to.to_string(), r.gateway ? " via " + r.gateway->to_string() : "",
                       link == links.end() ? "" : " dev " + link->name,
                       r.kind == net::Route::Kind::discard ? " discard"
                       : r.kind == net::Route::Kind::pass  ? " throw"
                                                           : "",
                       r.table == net::kTableMain ? "" : fmt::format(" table {}", r.table),
                       r.protocol == net::kOwnProtocol ? " (tg's)" : "");
  }
  return out;
}

void add_network(std::vector<Section>& out) {
  auto netlink = net::Netlink::open();
  if (!netlink) return out.push_back({"network", netlink.error().text + "\n"});
  const auto links = netlink->links();
  const auto addresses = netlink->addresses();
  const auto routes = netlink->routes();
  const auto rules = netlink->rules();
  if (!links || !addresses || !routes || !rules) {
    return out.push_back({"network", "the routes of this machine cannot be read\n"});
  }
  std::string rules_text;
  for (const net::Rule& r : *rules) {
    const std::string mark = r.mark == 0 ? "" : fmt::format("{} fwmark {:#x}", r.but_mark ? " not" : "", r.mark);
    rules_text += fmt::format("{}:{} lookup {}\n", r.priority, mark, r.table);
  }
  out.push_back({"interfaces", links_text(*links, *addresses)});
  out.push_back({"rules", std::move(rules_text)});
  out.push_back({"routes", routes_text(*routes, *links)});
}

std::string last_lines(const std::string& text, std::size_t lines) {
  std::size_t at = text.size();
  for (std::size_t i = 0; i <= lines && at != std::string::npos && at > 0; ++i) at = text.rfind('\n', at - 1);
  return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

// Everything that the client knows by name is hidden by name.
void hide_names(Redactor& redactor, const Json& status, const Json& resources) {
  const auto hide = [&](const Json& item, const char* key) { redactor.hide(text_or(item, key, "")); };
  if (status.contains("tunnels")) {
    for (const Json& t : status["tunnels"]) {
      hide(t, "connector");
      hide(t, "network");
    }
  }
  for (const Json& r : resources) {
    for (const char* key : {"name", "network", "alias", "policy"}) hide(r, key);
    const std::string address = text_or(r, "address", "");
    if (!Cidr::parse(address)) redactor.hide(address);
  }
}

std::vector<Section> sections(const Report& o, Redactor& redactor) {
  const auto status = o.common.ask({{"type", "status"}});
  const auto resources = o.common.ask({{"type", "resources"}});
  redactor.hide(net::host_name());
  if (const auto identity = cmd::AgentIdentity::load(o.common.state)) {
    if (!IpAddress::parse(identity->controller().host)) redactor.hide(identity->controller().host);
  }
  redactor.show(Cidr(IpAddress(dns::kOwnResolvers[0]), 29));
  redactor.show(net::Routes::Config().peers);
  const auto range = Cidr::parse(status ? text_or(*status, "range", o.options.range) : o.options.range);
  if (range) redactor.show(*range);
  if (status && resources) hide_names(redactor, *status, (*resources)["resources"]);

  std::vector<Section> out;
  out.push_back({"about", about()});
  out.push_back({"status", status ? status->dump(2) + "\n" : status.error().text + "\n"});
  if (resources) out.push_back({"resources", (*resources)["resources"].dump(2) + "\n"});
  out.push_back({"netcheck", checks_text(netcheck(o.options))});
  add_network(out);
  out.push_back({"resolv.conf", file_text(kResolvConf)});
  if (const auto original = net::read_file(o.common.state + "/resolv.conf.original")) {
    out.push_back({"resolv.conf before tg", *original});
  }
  out.push_back({fmt::format("log, the last {} lines", kLogLines),
                 last_lines(file_text(o.common.state + "/client.log"), kLogLines)});
  for (Section& s : out) s.text = redactor.apply(s.text);
  return out;
}

std::string text_of(const Report& o, const std::vector<Section>& all) {
  std::string out = fmt::format("A report of tg client. It holds no key, token or grant.\n{}\n",
                                o.full ? "Names and addresses are as they are: do not post it in public."
                                       : "People, names and addresses are replaced, each always by the same word; 'tg "
                                         "client report --full' keeps them.");
  for (const Section& s : all) {
    out += fmt::format("\n== {}\n\n{}", s.title, s.text);
    if (!s.text.empty() && s.text.back() != '\n') out += "\n";
  }
  return out;
}

// A new file, for its owner's eyes; whoever typed sudo gets it. Nothing that exists is written over, and no link
// followed.
Result<net::Fd> new_file(const std::string& path) {
  net::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd && errno == EEXIST) return fail(Errc::conflict, path + " exists already; choose another name");
  if (!fd) return tl::unexpected(net::os_error(errno, "write " + path));
  const char* user = std::getenv("SUDO_UID");
  const char* group = std::getenv("SUDO_GID");
  if (::geteuid() != 0 || user == nullptr || group == nullptr) return fd;
  uid_t uid = 0;
  gid_t gid = 0;
  const bool numbers = std::from_chars(user, user + std::string_view(user).size(), uid).ec == std::errc() &&
                       std::from_chars(group, group + std::string_view(group).size(), gid).ec == std::errc();
  if (numbers && ::fchown(fd.get(), uid, gid) != 0) return tl::unexpected(net::os_error(errno, "give away " + path));
  return fd;
}

Result<> write_all(const net::Fd& fd, std::string_view rest, const std::string& path) {
  while (!rest.empty()) {
    const ssize_t n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(net::os_error(errno, "write " + path));
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<int> report(Report& o) {
  o.options.state = o.common.state;
  o.options.timeout = o.common.timeout;
  const bool to_stdout = o.file == "-";
  const std::string path = o.file.empty() ? "tg-report-" + now_text("{:%Y%m%d-%H%M%S}") + ".txt" : o.file;
  auto file = to_stdout ? Result<net::Fd>(net::Fd()) : new_file(path);   // said before anything takes its time
  if (!file) return pass_on(file);
  Redactor redactor(o.full ? Redactor::Keep::names_and_addresses : Redactor::Keep::nothing);
  const auto all = sections(o, redactor);
  const std::string text = text_of(o, all);
  if (to_stdout) {
    Json list = Json::array();
    for (const Section& s : all) list.push_back({{"title", s.title}, {"text", s.text}});
    if (o.common.json) cmd::print_json({{"sections", std::move(list)}});
    else std::fputs(text.c_str(), stdout);
    return 0;
  }
  if (auto written = write_all(*file, text, path); !written) return pass_on(written);
  if (o.common.json) cmd::print_json({{"file", path}});
  else std::puts(path.c_str());
  std::fputs(
      fmt::format(
          "tg: the report holds version, kernel, status, Resources, netcheck, routes, resolv.conf and the log's\n"
          "tg: end; no key or token{}. Read it before you send it.\n",
          o.full ? ", but names and addresses" : ", and no name or address")
          .c_str(),
      stderr);
  return 0;
}

}  // namespace

void add_report(cmd::Command client) {
  auto o = std::make_shared<Report>();
  cmd::Command c = client.add_command("report", "Write one file for a bug report", [o] { return report(*o); });
  o->common.add_to(c, std::chrono::seconds(5));
  c.add_flag("--full", o->full, "Keep names and addresses");
  c.add_option("file", o->file, "Where to; - for stdout (default: tg-report-TIME.txt here)").type_name("FILE");
  c.footer(
      "Holds version, kernel, status, Resources, netcheck, interfaces, rules, routes, resolv.conf and the\n"
      "last lines of the log. Keys, tokens and grants are never in it. People, names and addresses are\n"
      "replaced by words such as name-1 and private-2, each always by the same one, unless --full is given.\n"
      "A file that exists is not written over. --timeout is for each step of netcheck.");
}

}  // namespace tg::client
