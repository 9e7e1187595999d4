#include "net/return_path.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <unistd.h>

namespace tg::net::return_path_test {

// Conf is a folder like /proc/sys/net/ipv4/conf.
struct Conf {
  std::filesystem::path root = std::filesystem::temp_directory_path() / ("tg-return-path-" + std::to_string(::getpid()));
  ~Conf() { std::filesystem::remove_all(root); }
  void set(const std::string& interface, int value) const {
    std::filesystem::create_directories(root / interface);
    std::ofstream(root / interface / "rp_filter") << value << "\n";
  }
  bool strict() const { return checks_return_paths("tg0", root); }
};

TEST(ReturnPath, takes_the_greater_of_the_two_values) {
  const Conf c;
  EXPECT_FALSE(c.strict()) << "nothing can be read";
  c.set("all", 0), c.set("default", 1), c.set("lo", 1), c.set("tg0", 1), c.set("eth0", 0);
  EXPECT_FALSE(c.strict());
  c.set("eth0", 1);
  EXPECT_TRUE(c.strict());
  c.set("all", 2);
  EXPECT_FALSE(c.strict()) << "2 is loose";
  c.set("all", 1), c.set("eth0", 2);
  EXPECT_FALSE(c.strict());
  c.set("eth0", 0);
  EXPECT_TRUE(c.strict());
}

}  // namespace tg::net::return_path_test
