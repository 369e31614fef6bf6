#include "program/arena.h"

#include "memory/heap.h"

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <numeric>

namespace nbit::program {

namespace {

size_t room(size_t bytes) {
  constexpr size_t kAlignment = 64;
  return (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
}

/** Each at the lowest offset that is free while it lives. */
size_t place(std::vector<Lifetime>& buffers, const std::vector<size_t>& order) {
  std::vector<size_t> placed;  // in the order of their offsets
  size_t end = 0;
  for (const size_t i : order) {
    Lifetime& now = buffers[i];
    size_t offset = 0;
    for (const size_t j : placed) {
      const Lifetime& other = buffers[j];
      if (other.from > now.to || other.to < now.from) continue;
      if (offset + room(now.bytes) <= other.offset) break;
      offset = std::max(offset, other.offset + room(other.bytes));
    }
    now.offset = offset;
    end = std::max(end, offset + room(now.bytes));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), offset,
                                   [&](size_t o, size_t j) { return o < buffers[j].offset; }),
                  i);
  }
  return end;
}

}  // namespace

size_t layOut(std::vector<Lifetime>& buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return buffers[a].from < buffers[b].from; });
  std::vector<Lifetime> inTime = buffers;
  const size_t timely = place(inTime, order);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  const size_t dense = place(buffers, order);
  if (static_cast<double>(timely) > 1.1 * static_cast<double>(dense)) return dense;
  buffers = std::move(inTime);
  return timely;
}

constexpr size_t kTrims = size_t{1} << 20;

std::shared_ptr<c10::DataPtr> Arena::block(size_t bytes) {
  if (block_ == nullptr || bytes > bytes_) {
    block_.reset();  // before another is made, where nobody has it
    // What eager steps have left lies in pieces that a block of this size does not find.
    if (bytes > kTrims) heap::trim();
    block_ = std::make_shared<c10::DataPtr>(c10::GetCPUAllocator()->allocate(bytes));
    bytes_ = bytes;
  }
  return block_;
}

}  // namespace nbit::program
