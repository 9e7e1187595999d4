// Runs a test's body in a network namespace of its own.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "net/netlink.h"

namespace tg::test {

// in_netns runs `body` in a forked child with a fresh network in which only lo is up. Its failures are the test's;
// without the right to make a namespace the test is skipped.
template <class Body>
void in_netns(Body body) {
  constexpr int kSkipped = 77;
  std::fflush(nullptr);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (unshare(CLONE_NEWNET) != 0) _exit(kSkipped);
    {
      auto netlink = net::Netlink::open();
      const auto links = netlink->links();
      EXPECT_TRUE(links && netlink->change_link(links->at(0).index, {.up = true}));
      body();
    }
    std::exit(testing::Test::HasFailure() ? 1 : 0);   // not _exit: counted lines and leaks are told at exit
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status)) << "died of signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == kSkipped) GTEST_SKIP() << "no right to make a network namespace";
  EXPECT_EQ(WEXITSTATUS(status), 0) << "see above";
}

}  // namespace tg::test
