#include "net/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstddef>
#include <memory_resource>
#include <new>

namespace tg::net {
namespace {

constexpr std::size_t kPage = 2 << 20;
constexpr std::size_t kLarge = 2 * kPage;

class HugePages final : public std::pmr::memory_resource {
  static bool large(std::size_t size, std::size_t alignment) noexcept { return size >= kLarge && alignment <= kPage; }

  void* do_allocate(std::size_t size, std::size_t alignment) override {
    if (!large(size, alignment)) return std::pmr::new_delete_resource()->allocate(size, alignment);
    void* const at = ::operator new(size, std::align_val_t{kPage});
    ::madvise(at, size / kPage * kPage, MADV_HUGEPAGE);   // where the kernel declines, it is memory like any other
    return at;
  }
  void do_deallocate(void* at, std::size_t size, std::size_t alignment) override {
    if (large(size, alignment)) return ::operator delete(at, size, std::align_val_t{kPage});
    std::pmr::new_delete_resource()->deallocate(at, size, alignment);
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

}  // namespace

void use_huge_pages() noexcept {
  static HugePages& pages = *new HugePages;   // lives on when the process ends: what it gave may be given back later still
  std::pmr::set_default_resource(&pages);
}

void give_back_memory() noexcept { ::malloc_trim(0); }

}  // namespace tg::net
