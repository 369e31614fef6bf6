// Where buffers lie in one block of memory, so that those that live at the same time do not overlap.
#pragma once
#include <c10/core/Allocator.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace nbit::program {

struct Lifetime {
  size_t bytes;
  size_t from, to;    // the first and the last step that know it
  size_t offset = 0;  // result
};

/**
 * Sets the offsets, each a multiple of 64; returns the size of the block. Buffers choose in the order in which they are
 * made, so that memory which was just let go of, and is in a cache, is used again; the largest first where that saves a
 * tenth.
 */
size_t layOut(std::vector<Lifetime>& buffers);

/**
 * One block that several programs use in turn: never two at a time, and not while somebody has what lies in it. It is
 * as large as the largest needs.
 */
class Arena {
 public:
  /** The block, of at least so many bytes: the present one, or a larger one. */
  std::shared_ptr<c10::DataPtr> block(size_t bytes);
  /** Whether `block` is still the one that is given out. */
  bool isCurrent(const std::shared_ptr<c10::DataPtr>& block) const { return block == block_; }
  /** The block goes when no program has it. */
  void rest() { block_.reset(); }

 private:
  std::shared_ptr<c10::DataPtr> block_;
  size_t bytes_ = 0;
};

}  // namespace nbit::program
