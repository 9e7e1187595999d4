#include "cmd/controller/desired_file.h"
#include "cmd/controller/desired_json.h"

#include "cmd/controller/names.h"
#include "core/json.h"
#include "controller_support.h"

namespace tg::controller::controller_desired_file_test {

using Lines = std::vector<std::string>;

constexpr const char* kFile = R"([[network]]
name = "home"
[[connector]]
name = "home-1"
network = "home"
[[relay]]
name = "far"
address = "Relay.Example.com"
[[user]]
email = "Alice@Example.com"
[[group]]
name = "family"
members = ["alice@example.com"]
[[resource]]
name = "NAS"
network = "home"
address = "NAS.home.int."
alias = "nas.tg"
groups = ["family"]
protocols = { tcp = ["22", 80, "8000-8100"], udp = "none", icmp = false }
[[resource]]
name = "LAN"
network = "home"
address = "192.168.0.0/16"
)";

TEST(DesiredFile, reads_everything_and_makes_it_canonical) {
  const DesiredFile f = parse_desired(kFile, "home.toml");
  EXPECT_EQ(f.errors, Lines{});
  EXPECT_EQ(f.warnings, Lines{});
  ASSERT_EQ(f.state.networks.size(), 1u);
  EXPECT_EQ(f.state.connectors.at(0).network, "home");
  EXPECT_EQ(f.state.relays.at(0).address, "relay.example.com:8444");
  EXPECT_EQ(f.state.users.at(0).email, "alice@example.com");
  EXPECT_EQ(f.state.groups.at(0).members, Lines{"alice@example.com"});
  ASSERT_EQ(f.state.resources.size(), 2u);
  const ResourceSpec& nas = f.state.resources[0];
  EXPECT_EQ(nas.address.text(), "nas.home.int");
  EXPECT_EQ(nas.alias, "nas.tg");
  EXPECT_EQ(nas.groups, Lines{"family"});
  EXPECT_EQ(nas.protocols.tcp.to_string(), "22, 80, 8000-8100");
  EXPECT_TRUE(nas.protocols.udp.empty());
  EXPECT_FALSE(nas.protocols.icmp);
  EXPECT_EQ(nas.place.line, 14);
  EXPECT_EQ(f.state.resources[1].protocols, Protocols()) << "everything";
}

TEST(DesiredFile, may_be_empty) {
  EXPECT_EQ(parse_desired("", "f").errors, Lines{});
  EXPECT_TRUE(parse_desired("# nothing yet\n", "f").state.networks.empty());
}

TEST(DesiredFile, may_not_be_endless) {
  EXPECT_EQ(parse_desired(std::string(kDesiredFileMax + 1, '\n'), "f").errors, Lines{"f: larger than 32 MiB"});
}

// An assertion of toml++ 3.3 aborted on these; the fuzzer found it. See cmd/toml.h.
TEST(DesiredFile, may_have_any_nonsense_between_brackets) {
  using namespace std::string_literals;
  for (const std::string& text : {"[%]"s, "[[[a]]]"s, "a = 1\n[\0]"s, "[\xff]"s, "[ . ]"s, "[\x01"s}) {
    const DesiredFile f = parse_desired(text, "f");
    ASSERT_EQ(f.errors.size(), 1u) << text;
    EXPECT_NE(f.errors[0].find(": not TOML: "), std::string::npos) << f.errors[0];
  }
}

TEST(DesiredFile, may_hold_every_letter) {
  for (const char* name : {"\u00fc", "\u0394\u0436", "\uFEDF", "\u0645\u0643\u062A\u0628", "\U0001F512"}) {
    const std::string entry = std::string("# ") + name + "\n[[network]]\nname = \"" + name + "\"";
    const DesiredFile f = parse_desired(entry, "f");
    EXPECT_EQ(f.errors, Lines{});
    EXPECT_EQ(f.state.networks.at(0).name, name);
  }
}

TEST(DesiredFile, warns_of_protocols_that_stay_open_without_being_named) {
  const std::string start =
      "[[network]]\nname = \"home\"\n[[resource]]\nname = \"NAS\"\nnetwork = \"home\"\naddress = \"nas.int\"\n";
  EXPECT_EQ(parse_desired(start + "protocols = { tcp = [\"22\"] }", "f").warnings,
            Lines{R"(f:7: resource "NAS": protocols: udp and icmp are not named and so allowed; )"
                  R"(to refuse, write udp = "none", icmp = false)"});
  EXPECT_EQ(parse_desired(start + "protocols = { tcp = [\"22\"], udp = \"all\" }", "f").warnings,
            Lines{R"(f:7: resource "NAS": protocols: icmp is not named and so allowed; )"
                  R"(to refuse, write icmp = false)"});
}

TEST(DesiredFile, puts_what_the_controller_found_on_the_lines_of_the_keys) {
  const DesiredFile f = parse_desired(kFile, "home.toml");
  const auto found = f.places.in_file({{{99}, "resource NAS: address", "shares hosts"}, {{}, "resource Other: alias", "is taken"}});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(line_of(found[0], "home.toml"), "home.toml: resource Other: alias: is taken") << "not in the file";
  const std::string text = line_of(found[1], "home.toml");
  EXPECT_TRUE(text.ends_with(R"(: resource "NAS": address: shares hosts)")) << text;
  EXPECT_NE(found[1].place.line, 99);
}

TEST(DesiredFile, reads_tests) {
  const DesiredFile f = parse_desired("[[test]]\nuser = \"Alice@Example.com\"\ncan = [\"NAS.home.int:22\", \"10.0.0.7:53/udp\"]\n"
                                      "cannot = [\"nas.home.int/icmp\", \"[fd00::1]:443\"]\n", "f");
  ASSERT_EQ(f.errors, Lines{});
  ASSERT_EQ(f.state.tests.size(), 1u);
  const TestSpec& t = f.state.tests[0];
  EXPECT_EQ(t.user, "alice@example.com");
  EXPECT_EQ(t.place.line, 1);
  ASSERT_EQ(t.can.size(), 2u);
  EXPECT_EQ(to_string(t.can[0].host), "nas.home.int");
  EXPECT_EQ(t.can[0].port, 22);
  EXPECT_EQ(t.can[1].protocol, Protocol::udp);
  ASSERT_EQ(t.cannot.size(), 2u);
  EXPECT_EQ(t.cannot[0].protocol, Protocol::icmp);
  EXPECT_EQ(to_string(t.cannot[1].host), "fd00::1");
}

TEST(DesiredFile, says_what_is_wrong_with_a_test) {
  const auto errors = [](const std::string& more) { return parse_desired("[[test]]\n" + more, "f").errors; };
  EXPECT_EQ(errors("user = \"alice@example.com\""),
            Lines{R"(f:1: test of alice@example.com: says neither what the user can reach nor what he cannot: can = ["nas.home.int:22"])"});
  EXPECT_EQ(errors("user = \"alice@example.com\"\ncan = [\"nas\"]"),
            Lines{R"(f:3: test of alice@example.com: can: "nas" has no port, as in nas.home.int:22, 10.0.0.7:53/udp or nas.home.int/icmp)"});
  EXPECT_EQ(errors("user = \"alice@example.com\"\ncan = [\"nas:99999\"]"),
            Lines{R"(f:3: test of alice@example.com: can: "nas:99999" has no port from 0 to 65535)"});
  EXPECT_EQ(errors("user = \"alice@example.com\"\ncan = [\"nas:22/sctp\"]"),
            Lines{R"(f:3: test of alice@example.com: can: "nas:22/sctp" ends in something else than /tcp, /udp or /icmp)"});
  EXPECT_EQ(errors("can = [\"nas:22\"]").size(), 1u);
}

TEST(DesiredFile, is_written_as_it_would_be_read) {
  const DesiredFile f = parse_desired(kFile, "home.toml");
  const std::string text = to_toml(f.state);
  const DesiredFile again = parse_desired(text, "again.toml");
  EXPECT_EQ(again.errors, Lines{}) << text;
  EXPECT_EQ(again.warnings, Lines{}) << text;
  EXPECT_TRUE(plan(f.state, again.state, true).empty()) << text;
  EXPECT_EQ(to_toml(again.state), text);
}

RC_GTEST_PROP(DesiredFileText, holds_whatever_a_state_may_hold, ()) {
  const auto name = [] {
    return *rc::gen::suchThat(rc::gen::container<std::string>(rc::gen::inRange<char>(' ', '~')), [](const std::string& s) {
      return check_name(s).has_value();
    });
  };
  DesiredState s;
  s.networks.push_back({name(), {}});
  s.users.push_back({"alice@example.com", {}});
  const auto maybe = [](auto one) { return *rc::gen::arbitrary<bool>() ? std::vector{one} : std::vector<decltype(one)>{}; };
  IdentityProviderSpec p;
  p.name = name();
  p.issuer = "https://id.example.com/" + std::to_string(*rc::gen::arbitrary<unsigned>());
  p.client_id = name();
  p.scopes.insert(p.scopes.end(), *rc::gen::inRange(0, 3), "groups");
  p.trust_email = *rc::gen::arbitrary<bool>();
  if (p.trust_email) p.email_claim = name();
  p.groups_claim = name();
  p.domains = maybe(std::string("example.com"));
  p.session = std::chrono::seconds(*rc::gen::inRange(10, 1'000'000));
  s.identity_providers.push_back(p);
  s.services.push_back({*rc::gen::suchThat(rc::gen::exec(name), [](const std::string& n) { return !is_person(n); }), {},
                        *rc::gen::arbitrary<bool>()});
  s.groups.push_back({name(), maybe(std::string("alice@example.com")), {}, maybe(Claim{p.name, name()})});
  if (*rc::gen::arbitrary<bool>()) s.groups.back().members.push_back(s.services.back().name);
  ResourceSpec r{name(), s.networks[0].name, *Address::parse("*.a.int"), "", {s.groups[0].name}, {}, {}};
  const auto ports = [] {
    std::vector<PortRange> out;
    for (const auto& [a, b] : *rc::gen::container<std::vector<std::pair<std::uint16_t, std::uint16_t>>>(
             rc::gen::pair(rc::gen::arbitrary<std::uint16_t>(), rc::gen::arbitrary<std::uint16_t>()))) {
      out.push_back({std::min(a, b), std::max(a, b)});
    }
    return Ports(std::move(out));
  };
  r.protocols = {ports(), ports(), *rc::gen::arbitrary<bool>()};
  s.resources.push_back(r);
  const std::string text = to_toml(s);
  const DesiredFile back = parse_desired(text, "f");
  RC_ASSERT(back.errors == Lines{});
  RC_ASSERT(plan(s, back.state, true).empty());
  RC_ASSERT(to_toml(back.state) == text);
}

TEST(DesiredFile, reads_an_identity_provider_and_claims) {
  const DesiredFile f = parse_desired(R"(
[[identity-provider]]
name = "company"
issuer = "https://id.example.com"
client_id = "tg"
scopes = ["openid", "email", "groups"]
groups_claim = "groups"
domains = ["Example.com"]
session = "8h"
[[group]]
name = "engineers"
claims = { company = ["ops", "engineering"] }
)", "f");
  ASSERT_EQ(f.errors, Lines{});
  const IdentityProviderSpec& p = f.state.identity_providers.at(0);
  EXPECT_EQ(p.issuer, "https://id.example.com");
  EXPECT_EQ(p.scopes, (Lines{"openid", "email", "groups"}));
  EXPECT_EQ(p.email_claim, "email");
  EXPECT_EQ(p.domains, Lines{"example.com"});
  EXPECT_EQ(p.session, std::chrono::hours(8));
  EXPECT_EQ(f.state.groups.at(0).claims, (std::vector<Claim>{{"company", "engineering"}, {"company", "ops"}}));
  const auto back = desired_from_json(to_json(f.state));
  ASSERT_TRUE(back) << back.error().text;
  EXPECT_TRUE(plan(f.state, *back, true).empty());
}

TEST(DesiredFile, says_what_is_wrong_with_an_identity_provider) {
  const auto errors = [](const std::string& more, const std::string& issuer = "https://id.example.com") {
    return parse_desired("[[identity-provider]]\nname = \"company\"\nissuer = \"" + issuer + "\"\nclient_id = \"tg\"\n" + more, "f").errors;
  };
  EXPECT_EQ(errors(""), Lines{});
  const std::string where = R"(: identity-provider "company": )";
  for (const char* issuer : {"http://id.example.com", "id.example.com", "https://", "https://id.example.com?x=1", "https://id.example.com#x",
                             "https://user@id.example.com", "https://id.example.com/a b"}) {
    ASSERT_EQ(errors("", issuer).size(), 1u) << issuer;
    EXPECT_EQ(errors("", issuer)[0], "f:3" + where + "issuer: \"" + issuer + "\" is no https address, as in https://id.example.com");
  }
  EXPECT_EQ(errors("scopes = [\"email\"]"), Lines{"f:5" + where + "scopes: must have \"openid\" among them"});
  EXPECT_EQ(errors("scopes = [\"openid email\", \"openid\"]"), Lines{"f:5" + where + "scopes: \"openid email\" is no scope"});
  EXPECT_EQ(errors("session = \"9s\""), Lines{"f:5" + where + "session: is too short: 10s is the least"});
  EXPECT_EQ(errors("session = \"soon\"").size(), 1u);
  EXPECT_EQ(errors("domains = [\"@example.com\"]").size(), 1u);
  EXPECT_EQ(errors("email_claim = \"upn\"").size(), 1u);
  EXPECT_EQ(errors("email_claim = \"upn\"\ntrust_email = true"), Lines{});
  EXPECT_EQ(errors("groups_claim = \"g\"\n[[group]]\nname = \"x\"\nclaims = { company = [\"a\"], firm = [\"b\"] }"),
            Lines{R"(f:8: group "x": claims: there is no identity-provider "firm"; add a [[identity-provider]] for it)"});
  EXPECT_EQ(errors("[[group]]\nname = \"x\"\nclaims = { company = [\"a\"] }"),
            Lines{R"(f:7: group "x": claims: identity-provider company has no groups_claim, so it tells no groups)"});
}

TEST(DesiredFile, reads_services) {
  const DesiredFile f = parse_desired("[[service]]\nname = \"ci\"\n[[service]]\nname = \"old\"\nblocked = true\n[[group]]\nname = \"g\"\n"
                                      "members = [\"ci\"]\n[[test]]\nuser = \"ci\"\ncannot = [\"a.int:1\"]\n", "f");
  EXPECT_EQ(f.errors, Lines{});
  ASSERT_EQ(f.state.services.size(), 2u);
  EXPECT_TRUE(f.state.services[1].blocked && !f.state.services[0].blocked);
  EXPECT_EQ(f.state.groups.at(0).members, Lines{"ci"});
  EXPECT_EQ(f.state.tests.at(0).user, "ci");
  EXPECT_EQ(parse_desired("[[service]]\nname = \"a@b\"\n", "f").errors,
            Lines{R"(f:2: service: name: "a@b" must not contain "@": that is how people are told from services)"});
}

TEST(DesiredFile, reads_and_writes_roles) {
  const std::string text = "[[user]]\nemail = \"alice@example.com\"\nrole = \"owner\"\n\n[[user]]\nemail = \"bob@example.com\"\n\n"
                           "[[service]]\nname = \"ci\"\nblocked = true\nrole = \"auditor\"\n";
  const DesiredFile f = parse_desired(text, "f");
  EXPECT_EQ(f.errors, Lines{});
  EXPECT_EQ(f.state.users.at(0).role, Role::owner);
  EXPECT_EQ(f.state.users.at(1).role, Role::member);
  EXPECT_EQ(f.state.services.at(0).role, Role::auditor);
  EXPECT_EQ(to_toml(f.state), text);
  EXPECT_EQ(parse_desired("[[user]]\nemail = \"a@b\"\nrole = \"root\"\n[[service]]\nname = \"ci\"\nrole = 1\n", "f").errors,
            (Lines{R"(f:3: user "a@b": role: must be member, auditor, admin or owner)",
                   R"(f:6: service "ci": role: must be a string in quotes, not a number)"}));
}

TEST(DesiredFileText, leaves_out_users_who_came_by_signing_in) {
  DesiredState s;
  s.users = {{"alice@example.com", {}}, {"carol@example.com", {}, true}};
  EXPECT_EQ(to_toml(s), "[[user]]\nemail = \"alice@example.com\"\n");
}

TEST(DesiredFile, reports_all_mistakes_in_the_order_of_the_file) {
  const DesiredFile f =
      parse_desired("[[user]]\nemail = \"x\"\n[[network]]\nnme = \"home\"\nname = \"home\"\n[[user]]\nemail = 1\n",
                    "f");
  EXPECT_EQ(f.errors, (Lines{R"(f:2: user: email: "x" is not an e-mail address)",
                             R"(f:4: network "home": unknown key "nme"; did you mean "name"?)",
                             R"(f:7: user: email: must be a string in quotes, not a number)"}));
}

#define kResource "[[network]]\nname = \"home\"\n[[resource]]\nname = \"NAS\"\nnetwork = \"home\"\n"
#define kNas kResource "address = \"nas.home.int\"\n"

struct Bad {
  std::string text;
  Lines errors;
};
const Bad kBad[] = {
    {R"(x = )",
     {R"(home.toml:1: not TOML: Error while parsing key-value pair: encountered end-of-file)"}},
    {R"([[network]]
name = "a"
name = "b")",
     {R"(home.toml:3: not TOML: Error while parsing key-value pair: cannot redefine existing string 'name')"}},
    {R"([[resorce]]
name = "NAS")",
     {R"(home.toml:1: unknown key "resorce"; did you mean "resource"?)"}},
    {R"([network]
name = "home")",
     {R"(home.toml:1: network: must be written with two brackets: [[network]])"}},
    {R"(network = "home")",
     {R"(home.toml:1: network: must be a table [[network]], not a string)"}},
    {R"(network = ["home"])",
     {R"(home.toml:1: network[0]: must be a table, not a string)"}},
    {R"([[network]]
)",
     {R"(home.toml:1: network: "name" is missing)"}},
    {R"([[network]]
name = "home"
nam = 1)",
     {R"(home.toml:3: network "home": unknown key "nam"; did you mean "name"?)"}},
    {R"([[network]]
name = "")",
     {R"(home.toml:2: network: name: must not be empty)"}},
    {R"([[network]]
name = 5)",
     {R"(home.toml:2: network: name: must be a string in quotes, not a number)"}},
    {R"([[network]]
name = "a/b")",
     {R"(home.toml:2: network: name: "a/b" must not contain "/")"}},
    {R"([[network]]
name = "a\u001bb")",
     {R"(home.toml:2: network: name: "a\x1bb" must be UTF-8 without control characters)"}},
    {R"([[network]]
name = " home")",
     {R"(home.toml:2: network: name: " home" must not begin or end with a space)"}},
    {R"([[network]]
name = "home"
[[network]]
name = "home")",
     {R"(home.toml:3: network "home": is there twice (first in line 1); give one another name)"}},
    {R"([[connector]]
name = "home-1")",
     {R"(home.toml:1: connector "home-1": "network" is missing)"}},
    {R"([[connector]]
name = "home-1"
network = "hom")",
     {R"(home.toml:3: connector "home-1": network: there is no network "hom"; add a [[network]] for it)"}},
    {R"([[user]]
email = "alice")",
     {R"(home.toml:2: user: email: "alice" is not an e-mail address)"}},
    {R"([[user]]
name = "alice@example.com")",
     {R"(home.toml:1: user: "email" is missing)",
      R"(home.toml:2: user: unknown key "name"; did you mean "email"?)"}},
    {R"([[group]]
name = "family"
members = "alice@example.com")",
     {R"(home.toml:3: group "family": members: must be a list of strings, not a string)"}},
    {R"([[group]]
name = "family"
members = [
  1])",
     {R"(home.toml:4: group "family": members[0]: must be a string in quotes, not a number)"}},
    {R"([[group]]
name = "family"
members = ["alice@example.com"])",
     {R"(home.toml:3: group "family": members: there is no user "alice@example.com"; add a [[user]] for it)"}},
    {R"([[user]]
email = "a@b"
[[group]]
name = "family"
members = ["a@b", "A@B"])",
     {R"(home.toml:5: group "family": members: "a@b" is written twice)"}},
    {kResource "",
     {R"(home.toml:3: resource "NAS": "address" is missing)"}},
    {kResource R"(address = "10.0.0.1/8")",
     {R"(home.toml:6: resource "NAS": address: 10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?)"}},
    {kResource R"(address = "https://nas.home.int/")",
     {R"(home.toml:6: resource "NAS": address: "https://nas.home.int/" is a URL; write the host only)"}},
    {kResource R"(address = "nas.home.int:80")",
     {R"(home.toml:6: resource "NAS": address: "nas.home.int:80" has a port; use protocols)"}},
    {kResource R"(address = true)",
     {R"(home.toml:6: resource "NAS": address: must be a string in quotes, not true or false)"}},
    {kNas R"(alias = "nas")",
     {R"(home.toml:7: resource "NAS": alias: "nas" needs at least one dot, as in "nas.tg")"}},
    {kNas R"(alias = "1.2.3.4")",
     {R"(home.toml:7: resource "NAS": alias: "1.2.3.4" is an address; an alias is a name)"}},
    {kNas R"(alias = "*.tg")",
     {R"(home.toml:7: resource "NAS": alias: "*.tg": "*.tg" is no name: letters, digits, '-', '_' and dots only)"}},
    {kNas R"(groups = ["family"])",
     {R"(home.toml:7: resource "NAS": groups: there is no group "family"; add a [[group]] for it)"}},
    {kResource R"(adress = "nas.home.int")",
     {R"(home.toml:3: resource "NAS": "address" is missing)",
      R"(home.toml:6: resource "NAS": unknown key "adress"; did you mean "address"?)"}},
    {kNas R"(protocols = { tcp = ["22", "443", "80-"], udp = "all", icmp = true })",
     {R"(home.toml:7: resource "NAS": protocols.tcp[2]: "80-" is not a port or a range)"}},
    {kNas R"(protocols = { tcp = ["90-80"], udp = "all", icmp = true })",
     {R"(home.toml:7: resource "NAS": protocols.tcp[0]: "90-80" is not a port or a range)"}},
    {kNas R"(protocols = { tcp = [65536], udp = "all", icmp = true })",
     {R"(home.toml:7: resource "NAS": protocols.tcp[0]: "65536" is not a port or a range)"}},
    {kNas R"(protocols = { tcp = [-1], udp = "all", icmp = true })",
     {R"(home.toml:7: resource "NAS": protocols.tcp[0]: "-1" is not a port or a range)"}},
    {kNas R"(protocols = { tcp = [true], udp = "all", icmp = true })",
     {R"(home.toml:7: resource "NAS": protocols.tcp[0]: must be a port or a range in quotes, not true or false)"}},
    {kNas R"(protocols = { tcp = "443", udp = "all", icmp = true })",
     {R"(home.toml:7: resource "NAS": protocols.tcp: "443" is neither "all" nor "none"; ports are a list: ["443"])"}},
    {kNas R"(protocols = { tcp = 443, udp = "all", icmp = true })",
     {R"(home.toml:7: resource "NAS": protocols.tcp: must be "all", "none" or a list of ports, not a number)"}},
    {kNas R"(protocols = { tcp = "all", udp = "all", icmp = "yes" })",
     {R"(home.toml:7: resource "NAS": protocols.icmp: must be true or false, not a string)"}},
    {kNas R"(protocols = { tpc = "all", tcp = "all", udp = "all", icmp = true })",
     {R"(home.toml:7: resource "NAS": unknown key "protocols.tpc"; did you mean "protocols.tcp"?)"}},
    {kNas R"(protocols = "tcp")",
     {R"(home.toml:7: resource "NAS": protocols: must be a table, not a string)"}},
    {kNas R"(alias = "nas.tg"
[[resource]]
name = "B"
network = "home"
address = "b.int"
alias = "NAS.tg.")",
     {R"(home.toml:12: resource "B": alias: "nas.tg" is also the alias of resource NAS; choose another)"}},
    {R"([[network]]
name = 2020-01-01)",
     {R"(home.toml:2: network: name: must be a string in quotes, not a date or time)"}},
};

TEST(DesiredFile, says_file_line_and_key_of_every_mistake) {
  for (const Bad& bad : kBad) EXPECT_EQ(parse_desired(bad.text, "home.toml").errors, bad.errors) << bad.text;
}

}  // namespace tg::controller::controller_desired_file_test
