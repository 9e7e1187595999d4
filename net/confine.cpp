#include "net/confine.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "net/socket.h"

namespace tg::net {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Calls that no part of tg makes once it runs. Those that this libseccomp does not know are left out.
constexpr const char* kForbidden[] = {
    // other processes
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp",
    "pidfd_getfd",
    // namespaces and mounts
    "setns", "unshare", "chroot", "pivot_root", "mount", "umount2", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig",
    "fspick", "mount_setattr",
    // the kernel itself
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "perf_event_open", "userfaultfd",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key", "keyctl", "reboot", "swapon", "swapoff",
    "acct", "quotactl", "iopl", "ioperm", "modify_ldt", "personality",
    // who and when we are
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capset",
    "sethostname", "setdomainname", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
    // files past their names
    "open_by_handle_at", "mknod", "mknodat"};

cap_value_t capability_of(Right r) {
  switch (r) {
    case Right::net_admin: return CAP_NET_ADMIN;
    case Right::net_bind_service: return CAP_NET_BIND_SERVICE;
    case Right::net_raw: return CAP_NET_RAW;
    case Right::any_file:
    case Right::threads: break;
  }
  return CAP_DAC_OVERRIDE;
}

Result<> drop_capabilities(std::initializer_list<Right> keep, const std::string& state) {
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> now(cap_get_proc(), cap_free), less(cap_init(), cap_free);
  if (!now || !less) return tl::unexpected(os_error(errno, "read the capabilities"));
  const auto hold = [&](Right r, cap_flag_t flag) {
    const cap_value_t value = capability_of(r);
    cap_flag_value_t has = CAP_CLEAR;
    if (cap_get_flag(now.get(), value, CAP_PERMITTED, &has) == 0 && has == CAP_SET) cap_set_flag(less.get(), flag, 1, &value, CAP_SET);
  };
  for (const Right r : keep) {
    if (r == Right::threads) continue;
    hold(r, CAP_PERMITTED);
    hold(r, CAP_EFFECTIVE);
  }
  hold(Right::any_file, CAP_PERMITTED);
  if (cap_set_proc(less.get()) != 0) return tl::unexpected(os_error(errno, "give up capabilities"));
  // Whether the state directory, and what is above it, lets this user in without that right shows when it is tried.
  const bool named = std::find(keep.begin(), keep.end(), Right::any_file) != keep.end();
  const bool missed = ::faccessat(AT_FDCWD, state.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) != 0;
  if (missed) hold(Right::any_file, CAP_EFFECTIVE);
  const cap_value_t any_file = capability_of(Right::any_file);
  if (!missed && !named) cap_set_flag(less.get(), CAP_PERMITTED, 1, &any_file, CAP_CLEAR);
  if (cap_set_proc(less.get()) != 0) return tl::unexpected(os_error(errno, "give up capabilities"));
  return {};
}

tl::unexpected<Error> no_filter(int e) {
  return fail(Errc::unsupported, "the kernel takes no seccomp filter: " + os_error(-e, "load it").text);
}

// With `threads`, clone(2) goes on for what stays in this process. The flags of clone3(2) are where no filter can look: it is said to
// be unknown, as to old kernels, and glibc takes clone(2) then.
int forbid_starting(scmp_filter_ctx filter, bool threads) {
  const int clone = SCMP_SYS(clone), clone3 = SCMP_SYS(clone3);
  if (!threads) {
    const int e = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, clone, 0);
    return e != 0 ? e : seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, clone3, 0);
  }
  int e = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, clone, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
  for (const scmp_datum_t other : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET}) {
    if (e == 0) e = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, clone, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, other, other));
  }
  return e != 0 ? e : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), clone3, 0);
}

Result<> forbid_calls(bool threads) {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_ALLOW), seccomp_release);
  if (!filter) return fail(Errc::unsupported, "there is no memory for a seccomp filter");
  if (const int e = seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS); e != 0) return no_filter(e);
  for (const char* name : kForbidden) {
    const int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR) continue;
    if (const int e = seccomp_rule_add(filter.get(), SCMP_ACT_KILL_PROCESS, call, 0); e != 0) return no_filter(e);
  }
  if (const int e = forbid_starting(filter.get(), threads); e != 0) return no_filter(e);
  for (const char* name : {"mmap", "mprotect", "pkey_mprotect"}) {
    const int e = seccomp_rule_add(filter.get(), SCMP_ACT_KILL_PROCESS, seccomp_syscall_resolve_name(name), 1,
                                   SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    if (e != 0) return no_filter(e);
  }
  if (const int e = seccomp_load(filter.get()); e != 0) return no_filter(e);
  return {};
}

}  // namespace

Result<> confine(std::initializer_list<Right> keep, const std::string& state) {
  auto dropped = drop_capabilities(keep, state);
  if (kSanitized) return dropped;
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  auto forbidden = forbid_calls(std::find(keep.begin(), keep.end(), Right::threads) != keep.end());   // sets no_new_privs, too
  return dropped ? forbidden : dropped;
}

}  // namespace tg::net
