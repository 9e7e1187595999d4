// Memory for large tables.
#pragma once

namespace tg::net {

// use_huge_pages has what asks std::pmr's default resource for 4 MiB or more get them in pages of 2 MiB, where the kernel has such
// (madvise(2), MADV_HUGEPAGE), for as long as this process runs. A look-up somewhere in a large table costs a third less then: of
// pages of 4 KiB the processor knows only a few thousand by heart.
void use_huge_pages() noexcept;

}  // namespace tg::net
