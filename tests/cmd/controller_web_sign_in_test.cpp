#include "cmd/controller/web_sign_in.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cmd/controller/pki.h"
#include "controller_support.h"

namespace tg::controller::controller_web_sign_in_test {

// A provider whose name is found when a test says so, or never.
struct AWebSignIn : testing::Test {
  Folder folder;
  Store store = must(Store::open(folder / "controller.db"));
  net::Loop loop;
  std::vector<std::function<void(Result<net::Addresses>)>> asked;     // for the provider's address
  std::vector<std::optional<HttpReply>> replies;
  net::TlsContext tls = must(net::TlsContext::web(must(Pki::create(kNow)).files().root));
  WebSignIn web{loop, store, means(), {"tg.example.com", 8445}};

  WebSignIn::Means means() {
    WebSignIn::Means out;
    out.providers.unseal = [](std::string_view, Bytes) { return Result<Buffer>(Buffer()); };
    out.providers.web = [this] { return Result<net::TlsContext>(tls); };
    out.providers.resolve = [this] {
      return [this](const std::string&, std::function<void(Result<net::Addresses>)> done) { asked.push_back(std::move(done)); };
    };
    out.changed = [] {};
    return out;
  }

  AWebSignIn() {
    DesiredState s = home();
    s.identity_providers = {{"company", "https://id.example.com", "tg", {"openid"}, "email", false, "", {},
                             std::chrono::hours(8), {}}};
    must(store.apply(s, false, kNow));
  }

  // get returns which of `replies` will be the answer.
  std::size_t get(const std::string& path, const std::string& query, std::uint32_t from) {
    const std::size_t at = replies.size();
    replies.emplace_back();
    web.answer({"GET", path, query, {{"host", "tg.example.com:8445"}}, "", true}, {Ipv4{from}, {}},
               [this, at](HttpReply reply) { replies[at] = std::move(reply); });
    return at;
  }
  std::size_t start(std::uint32_t from) { return get("/sign-in/start", "provider=company", from); }
  int status(std::size_t at) const { return replies[at] ? replies[at]->status : 0; }
  // run has the loop run, once, and does what is to be done when each thing is so, one after the other.
  struct Step {
    std::function<bool()> so;
    std::function<void()> then;
  };
  void run(std::vector<Step> steps) {
    const Instant end = net::Loop::now() + std::chrono::seconds(10);
    std::size_t at = 0;
    net::Timer look(loop, [&] {
      for (; at < steps.size() && steps[at].so(); ++at) steps[at].then();
      if (at == steps.size() || net::Loop::now() > end) return loop.stop();
      look.after(std::chrono::milliseconds(1));
    });
    look.after(Duration::zero());
    loop.run();
    ASSERT_EQ(at, steps.size());
  }
};

TEST_F(AWebSignIn, waits_for_what_the_provider_says_of_itself_and_tells_when_that_is_nothing) {
  const std::size_t one = start(1);
  run({{[&] { return asked.size() == 1; },
        [&] {
          EXPECT_EQ(status(one), 0);
          asked[0](fail(Errc::not_found, "id.example.com has no address"));
        }},
       {[&] { return status(one) != 0; }, [] {}}});
  ASSERT_EQ(status(one), 502);
  EXPECT_NE(replies[one]->body.find("id.example.com has no address"), std::string::npos) << replies[one]->body;
}

TEST_F(AWebSignIn, lets_a_source_begin_so_many_at_once_and_others_go_on) {
  for (int i = 0; i < 20; ++i) EXPECT_EQ(status(start(1)), 0) << i;
  const std::size_t more = start(1);
  ASSERT_EQ(status(more), 429);
  EXPECT_EQ(replies[more]->headers.at(0).first, "Retry-After");
  EXPECT_EQ(status(start(2)), 0);
}

TEST_F(AWebSignIn, lets_few_wait_for_a_provider_that_does_not_answer) {
  std::vector<std::size_t> begun;
  for (std::size_t i = 0; i < WebSignIn::kWaiting; ++i) begun.push_back(start(static_cast<std::uint32_t>(1 + i / 16)));
  for (const std::size_t at : begun) ASSERT_EQ(status(at), 0);
  EXPECT_EQ(status(start(9999)), 503) << "each holds a connection";
  run({{[&] { return !asked.empty(); }, [&] { asked[0](fail(Errc::not_found, "no address")); }},
       {[&] { return std::any_of(begun.begin(), begun.end(), [&](std::size_t at) { return status(at) != 0; }); }, [] {}}});
  EXPECT_EQ(status(start(9999)), 0) << "there is room again";
}

TEST_F(AWebSignIn, goes_away_with_those_who_wait) {
  auto gone = std::make_unique<WebSignIn>(loop, store, means(), HostPort{"tg.example.com", 8445});
  bool answered = false;
  gone->answer({"GET", "/sign-in/start", "provider=company", {{"host", "tg.example.com:8445"}}, "", true}, {Ipv4{1}, {}},
               [&](HttpReply) { answered = true; });
  bool turned = false;
  run({{[&] { return asked.size() == 1; },
        [&] {
          gone.reset();
          asked[0](fail(Errc::not_found, "too late"));
          loop.post([&] { turned = true; });
        }},
       {[&] { return turned; }, [] {}}});
  EXPECT_FALSE(answered);
}

TEST_F(AWebSignIn, is_asked_as_its_paths_say) {
  const auto ask = [&](const char* method, const char* path, const char* host) {
    std::optional<HttpReply> out;
    web.answer({method, path, "", {{"host", host}}, "", true}, {Ipv4{1}, {}}, [&](HttpReply reply) { out = std::move(reply); });
    return out ? out->status : 0;
  };
  const char* own = "TG.example.com:8445";
  EXPECT_EQ(ask("GET", "/", own), 303);
  EXPECT_EQ(ask("GET", "/sign-in", own), 200);
  EXPECT_EQ(ask("HEAD", "/sign-in", own), 200);
  EXPECT_EQ(ask("GET", "/sign-in", "tg.example.com"), 303) << "another port is another place";
  EXPECT_EQ(ask("POST", "/sign-in", own), 405);
  EXPECT_EQ(ask("GET", "/sign-in/out", own), 405) << "a link signs nobody out";
  EXPECT_EQ(ask("POST", "/sign-in/out", own), 403);
  EXPECT_EQ(ask("GET", "/sign-in/planets", own), 404);
  EXPECT_EQ(ask("GET", "/sign-in/callback", own), 404);
  EXPECT_EQ(ask("GET", "/sign-in/callback/company", own), 400);
  EXPECT_EQ(ask("HEAD", "/sign-in/callback/company", own), 405);
  EXPECT_EQ(ask("HEAD", "/sign-in/start", own), 405);
  EXPECT_EQ(ask("GET", "/sign-in/start", own), 404);
}

}  // namespace tg::controller::controller_web_sign_in_test
