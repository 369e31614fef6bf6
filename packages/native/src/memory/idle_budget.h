// How much memory may lie idle. A loop takes and gives back the same blocks again and again, and idle memory saves it
// the page faults: while one runs, blocks may wait for it up to what it lately needed at once. Other programs have no
// more than their tensors, and a little.
#pragma once
#include <algorithm>
#include <cstddef>

namespace nbit::heap {

class IdleBudget {
 public:
  size_t cap = size_t{4} << 30;

  /** A block was taken, and with it `live` bytes are in use. Time is told in bytes taken. */
  void took(size_t size, size_t live) {
    peak_ = std::max(peak_, live);
    sinceTurn_ += size;
    volume_ += size;
    if (volume_ <= 2 * peak_ + kEpoch) return;
    lastPeak_ = peak_;
    peak_ = live;
    volume_ = 0;
  }
  /** A turn of a loop: a backward pass, or a scope that ends. */
  void turned() { sinceTurn_ = 0; }

  size_t allowed(size_t live) const {
    const size_t recent = std::max(peak_, lastPeak_);
    const size_t slack = std::max(kSlack, live / 16);
    const size_t waiting = sinceTurn_ < 4 * recent ? recent + recent / 4 - std::min(live, recent) : 0;
    return std::min(cap, std::max(slack, waiting));
  }

 private:
  static constexpr size_t kSlack = size_t{1} << 20, kEpoch = size_t{64} << 20;

  size_t peak_ = 0, lastPeak_ = 0, volume_ = 0;
  size_t sinceTurn_ = size_t{1} << 60;
};

}  // namespace nbit::heap
