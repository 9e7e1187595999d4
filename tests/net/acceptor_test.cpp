#include "net/acceptor.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace tg::net::acceptor_test {

TEST(Accepting, leaves_connections_to_the_kernel_while_they_are_not_wanted) {
  Loop loop;
  Fd listener = std::move(tcp_listen(*Endpoint::parse("127.0.0.1:0")).value());
  const Endpoint at = local_endpoint(listener.get());
  std::vector<Fd> near, came;
  for (int i = 0; i < 3; ++i) near.push_back(std::move(tcp_connect(at).value()));
  Acceptor acceptor;
  std::size_t while_unwanted = 0;
  int turns = 0;
  std::function<void()> turn = [&] {   // the Loop looks at its descriptors between two of them
    while_unwanted = came.size();
    if (++turns < 20) return loop.post(turn);
    acceptor.want(true);
  };
  acceptor = Acceptor(loop, std::move(listener), [&](Fd fd, const Endpoint&) {
    came.push_back(std::move(fd));
    if (came.size() == 1) {
      acceptor.want(false);
      loop.post(turn);
    }
    if (came.size() == 3) loop.stop();
  });
  Timer deadline(loop, [&] { loop.stop(); });
  deadline.after(std::chrono::seconds(10));
  loop.run();
  EXPECT_EQ(turns, 20);
  EXPECT_EQ(while_unwanted, 1u);
  EXPECT_EQ(came.size(), 3u);
}

}  // namespace tg::net::acceptor_test
