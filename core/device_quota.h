// How much of what a connector has its devices hold at once, in all and each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/lanes.h"
#include "core/time.h"

namespace tg {

// DeviceQuota counts what devices hold: flows or tunnels, which take a descriptor each (and no idle limit ends a TCP flow,
// so that a device that only opens and holds would otherwise have them all), lookups, or bytes. Threads may share one that was made
// with a Lock. Pure.
class DeviceQuota {
 public:
  struct Limits {
    std::size_t total = 0;
    std::size_t of_one = 0;
    bool operator==(const Limits&) const = default;
  };
  // flow_limits and tunnel_limits share out what a process may open: three quarters are for flows, of which one device has
  // half at most, and never more than kFlowsOfOne over all its tunnels; an eighth is for tunnels whose device is known; the
  // rest is for those that are not, DNS and files.
  static Limits flow_limits(std::size_t descriptors) noexcept;
  static Limits tunnel_limits(std::size_t descriptors) noexcept;
  static constexpr std::size_t kFlowsOfOne = 16384;
  // An honest device has one tunnel or two, of up to Lanes::kMost connections each, and dead ones until they are noticed.
  static constexpr std::size_t kTunnelsOfOne = 64;
  // byte_limits is for what is kept for servers that do not read: an eighth of the process's `memory`, at most kBytes,
  // of which one device has half at most and never more than kBytesOfOne.
  static Limits byte_limits(std::uint64_t memory) noexcept;
  static constexpr std::size_t kBytes = 512u << 20;
  static constexpr std::size_t kBytesOfOne = 256u << 20;
  // window_limit is what the windows of one lane of a tunnel may grow to in sum: a quarter of a device's share, so that its
  // senders wait before the share is full. Most tunnels are one lane, and leave the rest to flows that began small and to others.
  static std::size_t window_limit(std::uint64_t memory) noexcept { return byte_limits(memory).of_one / Lanes::kMost; }

  // Hold counts what one owner of a device has until it is destroyed, which must be before the DeviceQuota is. One that
  // was made without a DeviceQuota counts nothing and is never full. A Hold itself is one thread's.
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& o) noexcept
        : quota_(std::exchange(o.quota_, nullptr)), device_(o.device_), count_(std::exchange(o.count_, 0)) {}
    Hold& operator=(Hold&& o) noexcept;
    ~Hold() { release(); }
    // add counts `more`, or returns false and counts nothing when the device, or all together, would have too much.
    bool add(std::size_t more) noexcept;
    void remove(std::size_t less) noexcept;
    std::size_t count() const noexcept { return count_; }

   private:
    friend class DeviceQuota;
    struct Device {
      std::size_t count = 0, holds = 0;
    };
    using Devices = std::map<std::string, Device>;
    Hold(DeviceQuota& quota, Devices::iterator device) noexcept : quota_(&quota), device_(device) {}
    void release() noexcept;
    bool add_locked(std::size_t more) noexcept;
    void remove_locked(std::size_t less) noexcept;
    DeviceQuota* quota_ = nullptr;
    Devices::iterator device_;
    std::size_t count_ = 0;
  };

  // Lock keeps threads apart that share a quota (net/mutex.h). As std::mutex.
  class Lock {
   public:
    virtual ~Lock() = default;
    virtual void lock() = 0;
    virtual void unlock() = 0;
  };

  // `lock`: null for a quota of one thread.
  explicit DeviceQuota(Limits limits, std::unique_ptr<Lock> lock = nullptr) noexcept : limits_(limits), lock_(std::move(lock)) {}
  DeviceQuota(const DeviceQuota&) = delete;
  DeviceQuota& operator=(const DeviceQuota&) = delete;

  // take counts one more of `device`, or returns nothing and counts nothing when it, or all together, have their fill.
  std::optional<Hold> take(const std::string& device);
  // hold returns a Hold that counts nothing yet.
  Hold hold(const std::string& device);
  // worth_saying returns true at most once in kQuiet: refusals come by the thousand.
  bool worth_saying(Instant now) noexcept;
  static constexpr Duration kQuiet = std::chrono::minutes(1);

  const Limits& limits() const noexcept { return limits_; }
  std::size_t open() const;
  std::size_t open_of(const std::string& device) const;

 private:
  // Held keeps the lock, where there is one, for as long as it lives.
  class Held {
   public:
    explicit Held(const DeviceQuota& q) : lock_(q.lock_.get()) {
      if (lock_ != nullptr) lock_->lock();
    }
    ~Held() {
      if (lock_ != nullptr) lock_->unlock();
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    Lock* lock_;
  };
  Hold hold_locked(const std::string& device);
  std::size_t open_of_locked(const std::string& device) const;

  const Limits limits_;
  std::unique_ptr<Lock> lock_;   // for all that follows
  std::size_t open_ = 0;
  Hold::Devices devices_;   // those that have a Hold
  std::optional<Instant> said_;
};

}  // namespace tg
