#include "net/confine.h"

#include <seccomp.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

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
    "execve", "execveat", "fork", "vfork", "clone", "clone3", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp",
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
    case Right::any_file: break;
  }
  return CAP_DAC_OVERRIDE;
}

Result<> drop_capabilities(const std::vector<Right>& keep) {
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> now(cap_get_proc(), cap_free), less(cap_init(), cap_free);
  if (!now || !less) return tl::unexpected(os_error(errno, "read the capabilities"));
  for (const Right r : keep) {
    const cap_value_t value = capability_of(r);
    cap_flag_value_t has = CAP_CLEAR;
    if (cap_get_flag(now.get(), value, CAP_PERMITTED, &has) != 0 || has != CAP_SET) continue;
    cap_set_flag(less.get(), CAP_PERMITTED, 1, &value, CAP_SET);
    cap_set_flag(less.get(), CAP_EFFECTIVE, 1, &value, CAP_SET);
  }
  if (cap_set_proc(less.get()) != 0) return tl::unexpected(os_error(errno, "give up capabilities"));
  return {};
}

Result<> forbid_calls() {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_ALLOW), seccomp_release);
  if (!filter) return fail(Errc::unsupported, "there is no memory for a seccomp filter");
  for (const char* name : kForbidden) {
    const int call = seccomp_syscall_resolve_name(name);
    if (call != __NR_SCMP_ERROR) seccomp_rule_add(filter.get(), SCMP_ACT_KILL_PROCESS, call, 0);
  }
  for (const char* name : {"mmap", "mprotect", "pkey_mprotect"}) {
    seccomp_rule_add(filter.get(), SCMP_ACT_KILL_PROCESS, seccomp_syscall_resolve_name(name), 1,
                     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
  }
  if (const int e = seccomp_load(filter.get()); e != 0) {
    return fail(Errc::unsupported, "the kernel takes no seccomp filter: " + os_error(-e, "load it").text);
  }
  return {};
}

}  // namespace

Result<> confine(std::initializer_list<Right> keep, const std::string& state) {
  std::vector<Right> rights(keep);
  struct stat s {};
  if (::stat(state.c_str(), &s) == 0 && s.st_uid != ::geteuid()) rights.push_back(Right::any_file);
  auto dropped = drop_capabilities(rights);
  if (kSanitized) return dropped;
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  auto forbidden = forbid_calls();   // sets no_new_privs, too
  return dropped ? forbidden : dropped;
}

}  // namespace tg::net
