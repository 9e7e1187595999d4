// How much of a connector's descriptors its devices hold at once, in all and each.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "core/time.h"

namespace tg {

// DeviceQuota counts what devices hold, flows or tunnels: each takes a descriptor, and no idle limit ends a TCP flow, so that
// a device that only opens and holds would otherwise have them all. Not thread-safe. Pure.
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
  // An honest device has one tunnel or two, and dead ones until they are noticed.
  static constexpr std::size_t kTunnelsOfOne = 64;

  // Hold counts one until it is destroyed, which must be before the DeviceQuota is.
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& o) noexcept : quota_(std::exchange(o.quota_, nullptr)), device_(o.device_) {}
    Hold& operator=(Hold&& o) noexcept;
    ~Hold() { release(); }

   private:
    friend class DeviceQuota;
    using Device = std::map<std::string, std::size_t>::iterator;
    Hold(DeviceQuota& quota, Device device) noexcept : quota_(&quota), device_(device) {}
    void release() noexcept;
    DeviceQuota* quota_ = nullptr;
    Device device_;
  };

  explicit DeviceQuota(Limits limits) noexcept : limits_(limits) {}
  DeviceQuota(const DeviceQuota&) = delete;
  DeviceQuota& operator=(const DeviceQuota&) = delete;

  // take counts one more of `device`, or returns nothing and counts nothing when it, or all together, have their fill.
  std::optional<Hold> take(const std::string& device);
  // worth_saying returns true at most once in kQuiet: refusals come by the thousand.
  bool worth_saying(Instant now) noexcept;
  static constexpr Duration kQuiet = std::chrono::minutes(1);

  const Limits& limits() const noexcept { return limits_; }
  std::size_t open() const noexcept { return open_; }
  std::size_t open_of(const std::string& device) const;

 private:
  Limits limits_;
  std::size_t open_ = 0;
  std::map<std::string, std::size_t> devices_;   // those that have any
  std::optional<Instant> said_;
};

}  // namespace tg
