#include "cmd/examples.h"

#include <utility>

namespace tg::cmd {
namespace {

constexpr std::pair<std::string_view, std::string_view> kExamples[] = {
    {"client up", "tg client up --token tg1_…            # the first time\n"
                  "tg client up                          # from then on\n"
                  "tg client up --foreground             # in a service or a container\n"
                  "tg client up --key /etc/tg/ci.key     # a machine without a person\n"
                  "tg client up --key - < ci.key\n"},
    {"client down", "tg client down\n"},
    {"client status", "tg client status\n"
                      "tg client status --json | jq -r .state\n"},
    {"client resources", "tg client resources\n"
                         "tg client resources --json | jq -r '.resources[].address'\n"},
    {"client request", "tg client request NAS\n"
                       "tg client request NAS --for 1h --reason 'the disk is full'\n"},
    {"client explain", "tg client explain nas.home.int\n"
                       "tg client explain 10.0.5.7:22\n"},
    {"client ping", "tg client ping nas.home.int\n"
                    "tg client ping 10.0.5.7 --count 1 --timeout 2\n"},
    {"client dns", "tg client dns nas.home.int\n"
                   "tg client dns home.int MX\n"
                   "tg client dns 100.109.250.71          # which name has this address\n"},
    {"client netcheck", "sudo tg client netcheck\n"
                        "sudo tg client netcheck --json | jq '.checks[] | select(.state == \"failed\")'\n"},
    {"client report", "sudo tg client report                 # writes tg-report-TIME.txt here\n"
                      "sudo tg client report - | less\n"
                      "sudo tg client report --full report.txt\n"},
    {"client login", "sudo tg client login tg.example.com:8443#9kq…   # the first time, on a new machine\n"
                     "sudo tg client login tg.example.com:8443#9kq… --user alice@example.com   # with a password\n"
                     "sudo tg client login                          # again, when the session is over\n"
                     "sudo tg client login --json | jq -r 'select(.state == \"waiting\").complete_url'\n"},
    {"client logout", "sudo tg client logout\n"
                      "sudo tg client logout --yes           # without a question\n"},
    {"connector run", "tg connector run --token tg1_…        # the first time\n"
                      "tg connector run                      # from then on\n"
                      "tg connector run --dns 192.168.1.1 --listen 192.168.1.88:8445\n"},
    {"connector status", "tg connector status\n"
                         "tg connector status --json | jq .relays\n"},
    {"connector health", "tg connector health\n"
                         "HEALTHCHECK CMD [\"tg\", \"connector\", \"health\"]\n"},
    {"controller serve", "tg controller serve --public 203.0.113.10\n"
                         "tg controller serve --public tg.example.org:443 --listen 0.0.0.0:443\n"
                         "tg controller serve --public 203.0.113.10 --ca-bundle /etc/tg/our-ca.pem\n"},
    {"controller apply", "tg controller apply home.toml --dry-run\n"
                         "tg controller apply home.toml\n"},
    {"controller export", "tg controller export > home.toml\n"},
    {"controller audit", "tg controller audit --newest 20\n"
                         "tg controller audit --follow --json | jq -c '[.who, .action, .kind, .name]'\n"},
    {"controller audit verify", "tg controller audit verify             # prints NUMBER:HASH; keep it elsewhere\n"
                                "tg controller audit verify --head 4211:9f3c…\n"},
    {"controller events", "tg controller events --user alice@example.com --since 1d\n"
                          "tg controller events --kind denied,failed --follow\n"
                          "tg controller events --follow --json | jq -c '[.kind, .user, .resource, .down]'\n"},
    {"controller backup", "tg controller backup /backup/tg-$(date +%F).db\n"
                          "tg controller backup tg.db --passphrase-file passphrase\n"},
    {"controller restore", "tg controller restore tg.db --passphrase-file passphrase\n"
                           "tg controller restore tg.db --master-key master.key\n"},
    {"controller status", "tg controller status\n"},
    {"controller network list", "tg controller network list\n"},
    {"controller network show", "tg controller network show home\n"},
    {"controller network create", "tg controller network create home\n"},
    {"controller network delete", "tg controller network delete home\n"},
    {"controller network update", "tg controller network update home --rename cottage\n"},
    {"controller relay list", "tg controller relay list\n"},
    {"controller relay show", "tg controller relay show relay-1\n"},
    {"controller relay create", "tg controller relay create relay-1 --address relay.example.com:8444\n"},
    {"controller relay update", "tg controller relay update relay-1 --address relay.example.com:443\n"},
    {"controller relay delete", "tg controller relay delete relay-1\n"},
    {"controller relay token", "tg controller relay token relay-1\n"},
    {"relay run", "tg relay run --token tg1_…             # the first time\n"
                  "tg relay run --listen 0.0.0.0:443      # from then on\n"},
    {"relay status", "tg relay status\n"},
    {"relay health", "tg relay health\n"
                     "HEALTHCHECK CMD [\"tg\", \"relay\", \"health\"]\n"},
    {"controller connector list", "tg controller connector list\n"},
    {"controller connector show", "tg controller connector show home-1\n"},
    {"controller connector create", "tg controller connector create home-1 --network home\n"},
    {"controller connector update", "tg controller connector update home-1 --network office\n"},
    {"controller connector delete", "tg controller connector delete home-1\n"},
    {"controller connector token", "tg controller connector token home-1\n"
                                   "tg controller connector token home-1 --expires 1h\n"},
    {"controller identity-provider list", "tg controller identity-provider list\n"},
    {"controller identity-provider show", "tg controller identity-provider show company\n"},
    {"controller identity-provider create",
     "tg controller identity-provider create company --issuer https://id.example.com --client-id tg --domain example.com\n"},
    {"controller identity-provider update", "tg controller identity-provider update company --session 8h\n"},
    {"controller identity-provider delete", "tg controller identity-provider delete company\n"},
    {"controller identity-provider secret", "tg controller identity-provider secret company < secret.txt\n"
                                            "tg controller identity-provider secret company < /dev/null   # none any more\n"},
    {"controller policy list", "tg controller policy list\n"},
    {"controller policy show", "tg controller policy show sensitive\n"},
    {"controller policy create", "tg controller policy create sensitive --mfa true --session 8h --trusted-device true\n"
                                 "tg controller policy create office --day mon-fri --hours 08:00-18:00 --time-zone Europe/Berlin\n"
                                 "tg controller policy create on-call --approval 4h\n"},
    {"controller policy update", "tg controller policy update sensitive --session 4h\n"
                                 "tg controller policy update contractors --until 2026-12-31T18:00Z\n"
                                 "tg controller policy update office --hours \"\"      # all day\n"},
    {"controller policy delete", "tg controller policy delete sensitive\n"},
    {"controller request list", "tg controller request list\n"
                                "tg controller request list --json | jq '.requests[] | select(.state == \"open\")'\n"},
    {"controller request show", "tg controller request show 1f0c77ab\n"},
    {"controller request approve", "tg controller request approve 1f0c77ab\n"
                                   "tg controller request approve 1f0c77ab --for 30m\n"},
    {"controller request deny", "tg controller request deny 1f0c77ab\n"},
    {"controller session list", "tg controller session list\n"
                                "tg controller session list --json | jq -r '.sessions[] | [.user, .expires] | @tsv'\n"},
    {"controller session show", "tg controller session show 3f2a9c0d1e4b5a67\n"},
    {"controller session delete", "tg controller session delete 3f2a9c0d1e4b5a67\n"},
    {"controller user list", "tg controller user list\n"},
    {"controller user show", "tg controller user show alice@example.com\n"},
    {"controller user create", "tg controller user create alice@example.com\n"},
    {"controller user update", "tg controller user update alice@example.com --role admin\n"
                               "tg controller user update alice@example.com --rename alice@example.org\n"
                               "tg controller user update alice@example.com --forget-accounts\n"},
    {"controller user password", "tg controller user password alice@example.com\n"
                                 "tg controller user password alice@example.com < password.txt\n"},
    {"controller user totp", "tg controller user totp alice@example.com\n"
                             "tg controller user totp alice@example.com --remove\n"},
    {"controller user delete", "tg controller user delete alice@example.com\n"},
    {"controller service list", "tg controller service list\n"},
    {"controller service show", "tg controller service show ci\n"},
    {"controller service create", "tg controller service create ci\n"},
    {"controller service update", "tg controller service update ci --to blocked\n"},
    {"controller service delete", "tg controller service delete ci\n"},
    {"controller key list", "tg controller key list\n"
                            "tg controller key list --json | jq -r '.keys[] | select(.state == \"expired\").id'\n"},
    {"controller key show", "tg controller key show 1f0c77ab\n"},
    {"controller key create", "tg controller key create ci > ci.key\n"
                              "tg controller key create ci --name runners --expires 90d\n"},
    {"controller key update", "tg controller key update 1f0c77ab --rename runners\n"},
    {"controller key delete", "tg controller key delete 1f0c77ab\n"},
    {"controller api-token list", "tg controller api-token list\n"},
    {"controller api-token show", "tg controller api-token show 1f0c77ab\n"},
    {"controller api-token create", "tg controller api-token create alice@example.com --scope '*:read' > api.token\n"
                                    "tg controller api-token create ci --scope resources:write --name deploy\n"},
    {"controller api-token delete", "tg controller api-token delete 1f0c77ab\n"},
    {"controller group list", "tg controller group list\n"},
    {"controller group show", "tg controller group show family\n"},
    {"controller group create", "tg controller group create family --member alice@example.com\n"},
    {"controller group update", "tg controller group update family --add bob@example.com\n"
                                "tg controller group update builders --add ci          # a service\n"
                                "tg controller group update contractors --policy office\n"
                                "tg controller group update family --claim company=engineering --claim company=ops\n"},
    {"controller group delete", "tg controller group delete family\n"},
    {"controller resource list", "tg controller resource list\n"},
    {"controller resource show", "tg controller resource show NAS\n"},
    {"controller resource create",
     "tg controller resource create NAS --network home --address nas.home.int --group family --tcp 22,80\n"},
    {"controller resource update", "tg controller resource update NAS --tcp all --icmp false\n"},
    {"controller resource delete", "tg controller resource delete NAS\n"},
    {"controller device list", "tg controller device list\n"},
    {"controller device show", "tg controller device show 3f2a9c0d1e4b5a67\n"},
    {"controller device create", "tg controller device create alice@example.com\n"},
    {"controller device update", "tg controller device update 3f2a9c0d1e4b5a67 --to blocked\n"},
    {"controller device delete", "tg controller device delete 3f2a9c0d1e4b5a67\n"},
    {"controller device token", "tg controller device token alice@example.com\n"},
    {"version", "tg version\n"},
    {"completion bash", "source <(tg completion bash)          # in this shell; in ~/.bashrc for all of them\n"},
    {"completion zsh", "source <(tg completion zsh)           # in ~/.zshrc\n"
                       "tg completion zsh > ~/.zfunc/_tg      # or in a directory of $fpath\n"},
    {"completion fish", "tg completion fish | source\n"
                        "tg completion fish > ~/.config/fish/completions/tg.fish\n"},
};

}  // namespace

std::string_view examples_of(std::string_view command) noexcept {
  for (const auto& [name, lines] : kExamples) {
    if (name == command) return lines;
  }
  return {};
}

}  // namespace tg::cmd
