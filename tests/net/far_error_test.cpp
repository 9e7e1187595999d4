#include "net/far_error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <map>

namespace tg::net::far_error_test {

TEST(FarError, says_of_every_errno_what_an_application_can_be_told) {
  const std::map<int, Code> told = {
      {ECONNREFUSED, Code::refused},
      {ETIMEDOUT, Code::timed_out},
      {ECONNRESET, Code::reset}, {ECONNABORTED, Code::reset}, {EPIPE, Code::reset},
      {ENETUNREACH, Code::network_unreachable}, {ENETDOWN, Code::network_unreachable},
      {EAFNOSUPPORT, Code::network_unreachable}, {EADDRNOTAVAIL, Code::network_unreachable},
      {EMFILE, Code::exhausted}, {ENFILE, Code::exhausted}, {ENOMEM, Code::exhausted}, {ENOBUFS, Code::exhausted},
      {EAGAIN, Code::exhausted},
  };
  constexpr int kErrnos = 134;   // Linux's end at EHWPOISON
  for (int err = 1; err < kErrnos; ++err) {
    const auto it = told.find(err);
    EXPECT_EQ(code_of_errno(err), it == told.end() ? Code::host_unreachable : it->second) << std::strerror(err);
  }
}

TEST(FarError, keeps_what_routes_and_icmp_say_apart) {
  EXPECT_EQ(code_of_errno(EHOSTUNREACH), Code::host_unreachable) << "an unreachable route, ICMP host unreachable, no ARP";
  EXPECT_EQ(code_of_errno(ENETUNREACH), Code::network_unreachable) << "no route, ICMP network unreachable";
  EXPECT_EQ(code_of_errno(EACCES), Code::host_unreachable) << "a prohibited route";
  EXPECT_EQ(code_of_errno(EINVAL), Code::host_unreachable) << "a blackhole route: nothing reset, nothing refused";
  EXPECT_EQ(code_of_errno(ENOPROTOOPT), Code::host_unreachable) << "ICMP protocol unreachable";
}

}  // namespace tg::net::far_error_test
