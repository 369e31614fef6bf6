// Memory of large CPU tensors: blocks of the size that was asked for, cut from segments that come from the system. Any
// thread may take and give back.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace nbit {

/** In front of every block's data, which so stays aligned to 64 bytes. */
struct Block {
  uint64_t units : 60;  // its size in 16 bytes, with this header
  uint64_t used : 1;
  uint64_t last : 1;   // its segment ends behind it
  uint64_t own : 1;    // its segment was made for one block
  uint64_t small : 1;  // of the C library, and in no segment
  Block* before;       // the neighbour below
  union {
    char* touchedFrom;   // while free: what of its segment may be resident, in whole pages; both null when nothing is
    uint64_t sizeClass;  // of a small block
  };
  char* touchedTo;
  Block* next;  // while free: among blocks of about its size
  Block* previous;
  Block* younger;  // while free and touched: in the order of release
  Block* older;

  static constexpr size_t kUnit = 16;
  size_t size() const { return static_cast<size_t>(units) * kUnit; }
  size_t capacity() const { return size() - sizeof(Block); }
  char* begin() { return reinterpret_cast<char*>(this); }
  char* end() { return begin() + size(); }
  void* data() { return this + 1; }
  Block* above() { return last ? nullptr : reinterpret_cast<Block*>(end()); }
  static Block* of(void* data) { return static_cast<Block*>(data) - 1; }
};
static_assert(sizeof(Block) == 64);

namespace heap {

struct Stats {
  size_t idle;    // resident, and in no block that is in use
  size_t misses;  // blocks that idle memory could not serve whole
  size_t cap;
};

/** A block of at least `bytes`; null when the system has no memory left. */
Block* allocate(size_t bytes);
void release(Block* block);
/** Return all idle memory to the system; returns the bytes that went. */
size_t trim();
/** How much may lie idle. */
void setCap(size_t bytes);
Stats stats();

/** A backward pass begins or a scope ends: whoever does so again soon needs the same memory again. */
extern std::atomic<bool> turned;
inline void turn() { turned.store(true, std::memory_order_relaxed); }

}  // namespace heap
}  // namespace nbit
