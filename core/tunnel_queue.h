// Whole frames waiting to be sent, one behind the other in one piece of memory.
#pragma once

#include "core/frame.h"

namespace tg {

// FrameQueue is first in, first out. Frames are appended to back() by core/frame.h's encoders. What was sent is cut off
// lazily, so that a byte is moved at most once more; memory stays below twice the most that was queued, and is given
// back when the queue runs empty.
class FrameQueue {
 public:
  bool empty() const noexcept { return head_ == bytes_.size(); }
  std::size_t size() const noexcept { return bytes_.size() - head_; }
  Buffer& back() noexcept { return bytes_; }

  // front returns the next whole frame; only when not empty().
  Bytes front() const noexcept {
    const Bytes all = Bytes(bytes_).subspan(head_);
    return all.first(kFrameHeader + read_header(all).length);
  }

  // pop takes front() off.
  void pop() {
    head_ += front().size();
    if (head_ == bytes_.size()) {
      clear();
    } else if (head_ >= kLazy && head_ >= bytes_.size() / 2) {
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }

  void clear() {
    bytes_.clear();
    head_ = 0;
    if (bytes_.capacity() > kKept) bytes_.shrink_to_fit();
  }

 private:
  static constexpr std::size_t kLazy = 64 * 1024;     // do not bother to cut off less
  static constexpr std::size_t kKept = 256 * 1024;    // do not bother to give back less
  Buffer bytes_;
  std::size_t head_ = 0;
};

}  // namespace tg
