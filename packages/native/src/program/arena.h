// Where buffers lie in one block of memory, so that those that live at the same time do not overlap.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nbit::program {

struct Lifetime {
  size_t bytes;
  size_t from, to;    // the first and the last step that know it
  size_t offset = 0;  // result
};

/** Sets the offsets, each a multiple of 64; returns the size of the block. The largest buffers choose first. */
size_t layOut(std::vector<Lifetime>& buffers);

}  // namespace nbit::program
