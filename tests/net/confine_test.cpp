// What a confined process cannot do any more, each tried in a forked child.
#include "net/confine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <functional>
#include <thread>

#include "net/socket.h"
#include "tests/support/folder.h"

namespace tg::net::confine_test {

// child runs `body` in a process of its own and returns how that ended: its status, or 1000 and the signal.
int child(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

bool has(cap_value_t value, cap_flag_t flag = CAP_EFFECTIVE) {
  const cap_t now = cap_get_proc();
  cap_flag_value_t out = CAP_CLEAR;
  cap_get_flag(now, value, flag, &out);
  cap_free(now);
  return out == CAP_SET;
}

// A state directory as it should be.
const std::string& own_folder() {
  static const test::Folder folder;
  return folder.path();
}

TEST(Confine, leaves_only_the_rights_that_are_named) {
  if (!has(CAP_NET_ADMIN) || !has(CAP_NET_RAW)) GTEST_SKIP() << "takes root";
  EXPECT_EQ(child([] {
    if (!confine({Right::net_admin}, own_folder())) return 1;
    for (cap_value_t c = 0; c <= CAP_LAST_CAP; ++c) {
      if (has(c) != (c == CAP_NET_ADMIN) || has(c, CAP_PERMITTED) != (c == CAP_NET_ADMIN)) return 10 + c;
    }
    return 0;
  }), 0);
}

TEST(Confine, does_not_miss_a_right_that_was_never_there) {
  EXPECT_EQ(child([] {
    if (!confine({}, own_folder())) return 1;
    return has(CAP_NET_ADMIN) ? 2 : 0;
  }), 0);
}

TEST(Confine, lets_root_use_a_state_directory_of_somebody_else_or_below_one) {
  if (geteuid() != 0) GTEST_SKIP() << "takes root";
  const test::Folder folder;
  const std::string own = folder / "own";
  ASSERT_EQ(mkdir(own.c_str(), 0700), 0);
  ASSERT_EQ(chmod(folder.path().c_str(), 0700), 0);
  ASSERT_EQ(chown(folder.path().c_str(), 65534, 65534), 0);
  const auto writes = [&](const std::string& state) {
    return child([&] {
      if (!confine({}, state)) return 1;
      return Fd(open((own + "/file").c_str(), O_CREAT | O_WRONLY, 0600)) ? 0 : 2;
    });
  };
  EXPECT_EQ(writes(folder.path()), 0);
  EXPECT_EQ(writes(own), 0);
  EXPECT_EQ(writes(own_folder()), 2) << "and only then";
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

TEST(Confine, ends_a_process_that_starts_a_program_or_looks_into_others) {
  const std::pair<const char*, std::function<long()>> forbidden[] = {
      {"execve", [] { return long{execl("/bin/true", "true", nullptr)}; }},
      {"fork", [] { return long{fork()}; }},
      {"ptrace", [] { return ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
      {"mount", [] { return long{mount("none", "/mnt", "tmpfs", 0, nullptr)}; }},
      {"unshare", [] { return long{unshare(CLONE_NEWUSER)}; }},
      {"setuid", [] { return long{setuid(0)}; }},
      {"mmap", [] { return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? 1L : 0L; }},
  };
  for (const auto& [name, call] : forbidden) {
    const int ended = child([&call = call] {
      if (!confine({}, own_folder())) return 1;
      call();
      return 2;
    });
    EXPECT_EQ(ended, 1000 + SIGSYS) << name;
  }
}

TEST(Confine, lets_who_may_have_threads_start_them_and_no_process) {
  EXPECT_EQ(child([] {
    if (!confine({Right::threads}, own_folder())) return 1;
    int done = 0;
    std::thread([&done] { done = 1; }).join();
    return done == 1 ? 0 : 2;
  }), 0);
  EXPECT_EQ(child([] {
    if (!confine({}, own_folder())) return 1;
    std::thread([] {}).join();
    return 2;
  }), 1000 + SIGSYS);
  EXPECT_EQ(child([] {
    if (!confine({Right::threads}, own_folder())) return 1;
    return ::syscall(SYS_clone3, nullptr, 0) == -1 && errno == ENOSYS ? 0 : 2;
  }), 0) << "or the C library would not take the other";
  constexpr long kThread = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;
  const std::function<long()> starts[] = {[] { return ::syscall(SYS_clone, kThread | CLONE_NEWNET, nullptr, nullptr, nullptr, nullptr); },
                                          [] { return ::syscall(SYS_clone, kThread | CLONE_NEWNS, nullptr, nullptr, nullptr, nullptr); },
                                          [] { return long{fork()}; }, [] { return long{vfork()}; },
                                          [] { return long{execl("/bin/true", "true", nullptr)}; },
                                          [] { return ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr); }};
  for (const auto& call : starts) {
    EXPECT_EQ(child([&] {
      if (!confine({Right::threads}, own_folder())) return 1;
      call();
      return 2;
    }), 1000 + SIGSYS);
  }
}

TEST(Confine, leaves_no_core_and_gains_nothing_from_setuid) {
  EXPECT_EQ(child([] {
    if (!confine({}, own_folder())) return 1;
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 2;
  }), 0);
}

TEST(Confine, lets_memory_files_and_sockets_go_on) {
  EXPECT_EQ(child([] {
    if (!confine({}, own_folder())) return 1;
    const test::Folder folder;
    const bool file = static_cast<bool>(Fd(open((folder / "f").c_str(), O_CREAT | O_WRONLY, 0600)));
    const bool memory = std::string(64u << 20, 'x').back() == 'x';
    return file && memory && tcp_listen({*IpAddress::parse("127.0.0.1"), 0}) ? 0 : 2;
  }), 0);
}

#endif

}  // namespace tg::net::confine_test
