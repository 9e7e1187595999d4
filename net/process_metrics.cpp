#include "net/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "net/files.h"
#include "net/socket.h"

namespace tg::net {
namespace {

// The numbers of /proc/self/stat behind the program's name, which may have spaces: field 3, the state, is the first (proc(5)).
std::vector<double> stat_fields() {
  const auto text = read_file("/proc/self/stat");
  std::vector<double> out;
  if (!text) return out;
  std::string_view rest = std::string_view(*text).substr(std::min(text->rfind(')') + 1, text->size()));
  while (!rest.empty()) {
    const std::size_t from = rest.find_first_not_of(" \n");
    if (from == rest.npos) break;
    rest.remove_prefix(from);
    const std::string_view word = rest.substr(0, rest.find_first_of(" \n"));
    double value = 0;
    std::from_chars(word.data(), word.data() + word.size(), value);
    out.push_back(value);
    rest.remove_prefix(word.size());
  }
  return out;
}

std::optional<double> open_descriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return std::nullopt;
  double count = -3;   // ".", ".." and the folder's own
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

// When the machine was started, by the wall clock: what starttime counts from.
double boot_time() {
  timespec up{}, wall{};
  ::clock_gettime(CLOCK_BOOTTIME, &up);
  ::clock_gettime(CLOCK_REALTIME, &wall);
  return static_cast<double>(wall.tv_sec - up.tv_sec) + static_cast<double>(wall.tv_nsec - up.tv_nsec) / 1e9;
}

}  // namespace

void add_process_metrics(Metrics& m) {
  const std::vector<double> stat = stat_fields();
  const auto field = [&](std::size_t number) { return stat.size() + 2 >= number ? stat[number - 3] : 0; };
  const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const double page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  if (stat.size() > 21) {
    m.counter("process_cpu_seconds_total", "CPU time, of user and system.").add((field(14) + field(15)) / ticks);
    m.gauge("process_start_time_seconds", "When the process began, in Unix time.").add(boot_time() + field(22) / ticks);
    m.gauge("process_virtual_memory_bytes", "Virtual memory.").add(field(23));
    m.gauge("process_resident_memory_bytes", "Resident memory.").add(field(24) * page);
  }
  if (const auto open = open_descriptors()) m.gauge("process_open_fds", "Open descriptors.").add(*open);
  m.gauge("process_max_fds", "How many may be open.").add(static_cast<double>(descriptors()));
}

}  // namespace tg::net
