#include "net/workers.h"

#include <pthread.h>

#include <csignal>
#include <system_error>

namespace tg::net {

unsigned processors() noexcept { return std::max(std::thread::hardware_concurrency(), 1u); }

void Worker::tell(std::function<void()> work) {
  home_.post([present = present_, work = std::move(work)] {
    if (!present.expired()) work();
  });
}

Result<> Worker::prepare() {
  try {
    const Timer first(loop_, [] {});
  } catch (const std::system_error&) {
    return fail(Errc::exhausted, "could not start a thread: no descriptor is left for it");
  }
  return {};
}

Result<> Worker::start(std::function<void()> at_end) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  Result<> begun;
  try {
    thread_ = std::thread([this, at_end = std::move(at_end)] {
      ::pthread_setname_np(::pthread_self(), "tg-worker");
      loop_.run();
      at_end();
    });
  } catch (const std::system_error& e) {
    begun = tl::unexpected(os_error(e.code().value(), "start a thread"));
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return begun;
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  loop_.stop();
  thread_.join();
}

}  // namespace tg::net
