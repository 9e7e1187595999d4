// Memory of this process.
#pragma once

namespace tg::net {

// use_huge_pages has what asks std::pmr's default resource for 4 MiB or more get them in pages of 2 MiB, where the kernel has such
// (madvise(2), MADV_HUGEPAGE), for as long as this process runs. A look-up somewhere in a large table costs a third less then: of
// pages of 4 KiB the processor knows only a few thousand by heart.
void use_huge_pages() noexcept;

// give_back_memory returns to the system what was freed and the allocator keeps (malloc_trim(3)). It looks at all of the heap, which
// takes milliseconds where that is large: for when something large was read or written.
void give_back_memory() noexcept;

}  // namespace tg::net
