#include "cmd/agent_identity.h"

#include "cmd/controller/pki.h"
#include "controller_support.h"
#include "core/json.h"
#include "net/files.h"
#include "net/keys.h"

namespace tg::controller::agent_identity_test {

using cmd::AgentIdentity;

// A state directory as an enrolment leaves it.
struct AnAgentIdentity : testing::Test {
  Folder state;
  UnixTime now = net::Loop::wall();
  Pki pki = must(Pki::create(now));
  std::string key = must(net::new_key_pem());

  std::string chain_for(const std::string& key_pem, const std::string& id, UnixTime at) {
    return must(pki.issue("device", id, must(net::make_csr(key_pem)), at)).chain;
  }
  void SetUp() override {
    must(net::write_file(state / "key.pem", key));
    must(net::write_file(state / "chain.pem", chain_for(key, "0123456789abcdef", now)));
    must(net::write_file(state / "root.pem", pki.files().root));
    write_about("0123456789abcdef");
  }
  void write_about(const std::string& id) {
    const Json about = {{"controller", "tg.example.com:8443"},
                        {"uri", "tg://" + pki.instance() + "/device/" + id},
                        {"token", "00"}};
    must(net::write_file(state / "agent.json", about.dump()));
  }
  std::string problem() {
    const auto loaded = AgentIdentity::load(state.path());
    if (loaded) return {};
    EXPECT_EQ(loaded.error().code, Errc::malformed);
    EXPECT_NE(loaded.error().text.find("restore all of its files from one copy, or remove " + state.path() +
                                       "/agent.json and start once with a new --token"), std::string::npos);
    return loaded.error().text;
  }
};

TEST_F(AnAgentIdentity, is_what_an_enrolment_left) {
  const auto loaded = must(AgentIdentity::load(state.path()));
  EXPECT_EQ(loaded.self().id, "0123456789abcdef");
  EXPECT_EQ(loaded.controller().to_string(), "tg.example.com:8443");
}

TEST_F(AnAgentIdentity, needs_the_key_that_its_certificate_is_for) {
  must(net::write_file(state / "key.pem", must(net::new_key_pem())));
  EXPECT_NE(problem().find("the certificate in chain.pem is not for key.pem"), std::string::npos);
}

TEST_F(AnAgentIdentity, is_not_mixed_of_two) {
  write_about("fedcba9876543210");
  EXPECT_NE(problem().find("agent.json and chain.pem name different agents"), std::string::npos);
}

TEST_F(AnAgentIdentity, names_the_file_that_is_damaged) {
  for (const char* file : {"key.pem", "chain.pem"}) {
    const std::string whole = must(net::read_file(state / file));
    must(net::write_file(state / file, whole.substr(0, whole.size() / 2)));
    EXPECT_NE(problem().find(file), std::string::npos) << file;
    must(net::write_file(state / file, whole));
  }
  std::filesystem::remove(state / "root.pem");
  EXPECT_NE(problem().find("root.pem"), std::string::npos);
  must(net::write_file(state / "agent.json", "{"));
  EXPECT_NE(problem().find("agent.json"), std::string::npos);
  std::filesystem::remove(state / "agent.json");
  EXPECT_EQ(AgentIdentity::load(state.path()).error().code, Errc::login_needed);
}

TEST_F(AnAgentIdentity, takes_a_new_certificate_for_its_own_name_and_key_only) {
  auto identity = must(AgentIdentity::load(state.path()));
  const std::string before = must(net::read_file(state / "chain.pem"));
  const auto renewed = [&](const std::string& chain) { return identity.renewed({{"chain", chain}}); };
  EXPECT_EQ(renewed("nonsense").error().code, Errc::malformed);
  EXPECT_EQ(renewed(chain_for(key, "fedcba9876543210", now)).error().code, Errc::denied);
  EXPECT_EQ(renewed(chain_for(must(net::new_key_pem()), "0123456789abcdef", now)).error().code, Errc::denied);
  EXPECT_EQ(must(net::read_file(state / "chain.pem")), before);
  EXPECT_TRUE(AgentIdentity::load(state.path()));
  const std::string fresh = chain_for(key, "0123456789abcdef", now + std::chrono::hours(12));
  must(renewed(fresh));
  EXPECT_EQ(must(net::read_file(state / "chain.pem")), fresh);
}

TEST_F(AnAgentIdentity, wants_another_certificate_at_half_life_and_when_its_own_is_from_the_future) {
  const auto identity = must(AgentIdentity::load(state.path()));
  EXPECT_FALSE(identity.wants_renewal(now));
  EXPECT_TRUE(identity.wants_renewal(now + std::chrono::hours(12)));
  EXPECT_FALSE(identity.wants_renewal(now - std::chrono::minutes(59)));
  EXPECT_TRUE(identity.wants_renewal(now - std::chrono::hours(2))) << "the clock was set back";
}

TEST(ALeaf, is_due_at_half_its_life_and_when_the_clock_was_set_back) {
  EXPECT_FALSE(leaf_due(kNow, kNow));
  EXPECT_FALSE(leaf_due(kNow, kNow + kLeafLifetime / 2 - std::chrono::seconds(1)));
  EXPECT_TRUE(leaf_due(kNow, kNow + kLeafLifetime / 2));
  EXPECT_TRUE(leaf_due(kNow, kNow - std::chrono::seconds(1)));
}

TEST(AnIssuingCa, is_renewed_when_it_is_from_the_future) {
  Pki pki = must(Pki::create(kNow));
  EXPECT_FALSE(must(pki.renew_issuing(kNow)));
  EXPECT_TRUE(must(pki.renew_issuing(kNow + kIssuingLifetime)));
  EXPECT_TRUE(must(pki.renew_issuing(kNow)));
  EXPECT_FALSE(must(pki.renew_issuing(kNow)));
}

}  // namespace tg::controller::agent_identity_test
