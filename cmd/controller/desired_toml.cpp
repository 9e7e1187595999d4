// A desired state as the text that an administrator would have written.
#include <fmt/format.h>

#include "cmd/controller/desired_file.h"
#include "core/access.h"
#include "core/duration.h"
#include "core/text.h"

namespace tg::controller {
namespace {

// in_quotes writes a basic string of TOML 1.0: control characters and DEL are escaped.
std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out += {'\\', c};
    else if (byte < 0x20 || byte == 0x7f) out += fmt::format("\\u{:04X}", byte);
    else out += c;
  }
  return out + '"';
}

std::string list(const std::vector<std::string>& texts, std::size_t indent) {
  std::string line;
  std::string out;
  const std::string next = ",\n" + std::string(indent + 1, ' ');
  for (const std::string& text : texts) {
    const std::string one = in_quotes(text);
    const bool wrap = !line.empty() && indent + line.size() + one.size() > 110;
    if (wrap) {
      out += line + next;
      line.clear();
    }
    line += (line.empty() ? "" : ", ") + one;
  }
  return "[" + out + line + "]";
}

std::string ports(const Ports& p) {
  if (p.is_all() || p.empty()) return in_quotes(p.to_string());
  std::vector<std::string> out;
  for (const PortRange& r : p.ranges()) out.push_back(Ports({r}).to_string());
  return list(out, 0);
}

void pair(std::string& out, std::string_view key, const std::string& value) { out += fmt::format("{} = {}\n", key, value); }

void pair_list(std::string& out, std::string_view key, const std::vector<std::string>& values) {
  if (!values.empty()) pair(out, key, list(values, key.size() + 3));
}

// What is as it would be anyhow is not written.
void write(std::string& out, const IdentityProviderSpec& p) {
  const IdentityProviderSpec standard;
  pair(out, "name", in_quotes(p.name));
  pair(out, "issuer", in_quotes(p.issuer));
  pair(out, "client_id", in_quotes(p.client_id));
  if (p.scopes != standard.scopes) pair_list(out, "scopes", p.scopes);
  if (p.email_claim != standard.email_claim) pair(out, "email_claim", in_quotes(p.email_claim));
  if (p.trust_email) pair(out, "trust_email", "true");
  if (!p.groups_claim.empty()) pair(out, "groups_claim", in_quotes(p.groups_claim));
  pair_list(out, "domains", p.domains);
  if (p.session != standard.session) pair(out, "session", in_quotes(to_string(p.session)));
  pair_list(out, "mfa_contexts", p.mfa_contexts);
}

void write(std::string& out, const PolicySpec& p) {
  pair(out, "name", in_quotes(p.name));
  if (p.session) pair(out, "session", in_quotes(to_string(*p.session)));
  if (p.mfa) pair(out, "mfa", "true");
  if (p.trusted_device) pair(out, "trusted_device", "true");
  pair_list(out, "days", days_text(p.days));
  if (p.hours) pair(out, "hours", in_quotes(to_string(*p.hours)));
  if (p.time_zone != "UTC") pair(out, "time_zone", in_quotes(p.time_zone));
  if (p.until) pair(out, "until", in_quotes(rfc3339(*p.until)));
  if (p.approval) pair(out, "approval", in_quotes(to_string(*p.approval)));
}

// claims_table writes { PROVIDER = ["value", …], … }. `claims`: sorted.
std::string claims_table(const std::vector<Claim>& claims) {
  std::map<std::string, std::vector<std::string>> by_provider;
  for (const Claim& c : claims) by_provider[c.provider].push_back(c.value);
  std::string out;
  for (const auto& [provider, values] : by_provider) {
    std::string line;
    for (const std::string& value : values) line += (line.empty() ? "" : ", ") + in_quotes(value);
    out += fmt::format("{}{} = [{}]", out.empty() ? "" : ", ", in_quotes(provider), line);
  }
  return "{ " + out + " }";
}

void write(std::string& out, const ResourceSpec& r) {
  pair(out, "name", in_quotes(r.name));
  pair(out, "network", in_quotes(r.network));
  pair(out, "address", in_quotes(r.address.text()));
  if (!r.alias.empty()) pair(out, "alias", in_quotes(r.alias));
  pair_list(out, "groups", r.groups);
  if (r.protocols != Protocols()) {
    pair(out, "protocols", fmt::format("{{ tcp = {}, udp = {}, icmp = {} }}", ports(r.protocols.tcp), ports(r.protocols.udp),
                                       r.protocols.icmp));
  }
  if (!r.policy.empty()) pair(out, "policy", in_quotes(r.policy));
}

}  // namespace

std::string to_toml(const DesiredState& state) {
  std::string out;
  const auto begin = [&](const char* kind) { out += fmt::format("{}[[{}]]\n", out.empty() ? "" : "\n", kind); };
  for (const NetworkSpec& n : state.networks) {
    begin("network");
    pair(out, "name", in_quotes(n.name));
  }
  for (const ConnectorSpec& c : state.connectors) {
    begin("connector");
    pair(out, "name", in_quotes(c.name));
    pair(out, "network", in_quotes(c.network));
  }
  for (const RelaySpec& r : state.relays) {
    begin("relay");
    pair(out, "name", in_quotes(r.name));
    pair(out, "address", in_quotes(r.address));
  }
  for (const IdentityProviderSpec& p : state.identity_providers) {
    begin("identity-provider");
    write(out, p);
  }
  for (const PolicySpec& p : state.policies) {
    begin("policy");
    write(out, p);
  }
  for (const UserSpec& u : state.users) {
    if (u.by_sign_in) continue;
    begin("user");
    pair(out, "email", in_quotes(u.email));
    if (u.blocked) pair(out, "blocked", "true");
    if (u.role != Role::member) pair(out, "role", in_quotes(to_string(u.role)));
  }
  for (const ServiceSpec& s : state.services) {
    begin("service");
    pair(out, "name", in_quotes(s.name));
    if (s.blocked) pair(out, "blocked", "true");
    if (s.role != Role::member) pair(out, "role", in_quotes(to_string(s.role)));
  }
  for (const GroupSpec& g : state.groups) {
    begin("group");
    pair(out, "name", in_quotes(g.name));
    pair_list(out, "members", g.members);
    if (!g.claims.empty()) pair(out, "claims", claims_table(g.claims));
    if (!g.policy.empty()) pair(out, "policy", in_quotes(g.policy));
  }
  for (const ResourceSpec& r : state.resources) {
    begin("resource");
    write(out, r);
  }
  return out;
}

}  // namespace tg::controller
