// Best fit among free blocks, which are sorted by size; neighbours that are free become one block. Address space is
// plentiful and memory is not: a free block knows which of its pages may be resident, and the pages that lay idle
// longest return to the system when the budget says so.
#include "memory/heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <mutex>

#include "memory/idle_budget.h"

namespace nbit::heap {

std::atomic<bool> turned{false};

namespace {

constexpr size_t kPage = 4096, kHugePage = size_t{2} << 20;
constexpr size_t kLeast = 4096;                  // what is left of a block is a block of its own from here on
constexpr size_t kSegment = size_t{32} << 20;    // for many blocks
constexpr size_t kOwnSegment = size_t{4} << 20;  // a block of this size gets one of its own, with huge pages
constexpr int kTries = 32;                       // free blocks of about one size that are looked at

/** At the start of every mapping; the first block follows. */
struct alignas(64) Segment {
  size_t length;
  bool huge;
};
static_assert(sizeof(Segment) == 64);

constexpr int kBinsPerDoubling = 16, kBins = 36 * kBinsPerDoubling;
std::mutex mutex;
struct Bins {
  std::array<Block*, kBins> first{};
  std::array<uint64_t, kBins / 64> occupied{};
};
std::array<Bins, 2> pools{};  // blocks of common segments, and of segments made for one block, which have huge pages
Block* youngest = nullptr;
Block* oldest = nullptr;
size_t live = 0, idle = 0, misses = 0;
IdleBudget budget;

char* pageBelow(char* p) { return p - reinterpret_cast<uintptr_t>(p) % kPage; }
char* pageAbove(char* p) { return pageBelow(p + kPage - 1); }
size_t roundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

int binOf(size_t size) {
  const int top = 63 - std::countl_zero(size);
  return (top - 12) * kBinsPerDoubling + static_cast<int>(size >> (top - 4) & (kBinsPerDoubling - 1));
}

/** Bytes between two addresses that may be resident. */
size_t touchedWithin(const Block* b, char* from, char* to) {
  from = std::max(from, b->touchedFrom);
  to = std::min(to, b->touchedTo);
  return from < to ? to - from : 0;
}
size_t touched(Block* b) { return touchedWithin(b, b->begin(), b->end()); }

// ---------------------------------------------------------------- free blocks
void enterBin(Block* b) {
  const int bin = binOf(b->size());
  auto& [first, occupied] = pools[b->own];
  b->previous = nullptr;
  b->next = first[bin];
  if (b->next) b->next->previous = b;
  first[bin] = b;
  occupied[bin / 64] |= uint64_t{1} << bin % 64;
}
void leaveBin(Block* b) {
  const int bin = binOf(b->size());
  auto& [first, occupied] = pools[b->own];
  if (b->next) b->next->previous = b->previous;
  (b->previous ? b->previous->next : first[bin]) = b->next;
  if (!first[bin]) occupied[bin / 64] &= ~(uint64_t{1} << bin % 64);
}
void enterQueue(Block* b, Block* behind) {  // `behind`: the next younger one
  b->younger = behind;
  b->older = behind ? behind->older : youngest;
  (b->older ? b->older->younger : oldest) = b;
  (behind ? behind->older : youngest) = b;
}
void leaveQueue(Block* b) {
  (b->younger ? b->younger->older : youngest) = b->older;
  (b->older ? b->older->younger : oldest) = b->younger;
}
void enter(Block* b, Block* behind) {
  b->used = 0;
  enterBin(b);
  if (touched(b) == 0) {
    b->touchedFrom = b->touchedTo = nullptr;
    return;
  }
  enterQueue(b, behind);
  idle += touched(b);
}
void leave(Block* b) {
  leaveBin(b);
  if (!b->touchedTo) return;
  leaveQueue(b);
  idle -= touched(b);
}
Block* smallest(Block* first, size_t size) {
  Block* best = nullptr;
  int tries = kTries;
  for (Block* b = first; b && tries-- > 0; b = b->next)
    if (b->size() >= size && (!best || b->size() < best->size())) best = b;
  return best;
}
Block* findIn(const Bins& bins, size_t size) {
  const int bin = binOf(size);
  if (Block* b = smallest(bins.first[bin], size)) return b;
  for (int word = (bin + 1) / 64; word < static_cast<int>(bins.occupied.size()); word++) {
    const uint64_t bits =
        bins.occupied[word] & (word == (bin + 1) / 64 ? ~uint64_t{0} << (bin + 1) % 64 : ~uint64_t{0});
    if (bits) return smallest(bins.first[word * 64 + std::countr_zero(bits)], size);
  }
  return nullptr;
}
/** Where it fits best. A large block rather gets huge pages than pages of a common segment that are not resident yet.
 */
Block* find(size_t size) {
  Block* own = findIn(pools[1], size);
  Block* common = findIn(pools[0], size);
  if (common && size >= kOwnSegment && touched(common) < size) common = nullptr;
  return own && (!common || own->size() < common->size()) ? own : common;
}

// ---------------------------------------------------------------- segments
bool isWholeSegment(const Block* b) { return !b->before && b->last; }
Segment* segmentOf(Block* b) {
  while (b->before) b = b->before;
  return reinterpret_cast<Segment*>(b) - 1;
}

char* map(size_t length, bool huge) {
  const size_t room = huge ? kHugePage : 0;
  void* mapped = mmap(nullptr, length + room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* p = static_cast<char*>(mapped);
  if (!huge) return p;
  char* aligned = reinterpret_cast<char*>(roundUp(reinterpret_cast<uintptr_t>(p), kHugePage));
  if (aligned > p) munmap(p, aligned - p);
  if (p + room > aligned) munmap(aligned + length, p + room - aligned);
  madvise(aligned, length,
          MADV_HUGEPAGE);  // only whole huge pages within the mapping: its end is resident by single pages
  return aligned;
}
Block* mapSegment(size_t size) {
  const bool own = size >= kOwnSegment;
  const size_t exact = roundUp(size + sizeof(Segment), kPage);
  size_t length = own ? exact : kSegment;
  char* base = map(length, own);
  if (!base && !own) base = map(length = exact, false);
  if (!base) return nullptr;
  new (base) Segment{length, own};
  auto* b = new (base + sizeof(Segment)) Block{};
  b->units = (length - sizeof(Segment)) / Block::kUnit;
  b->last = 1;
  b->own = own;
  return b;
}

/** Returns the pages of a free block to the system, and a segment that is one free block whole. */
size_t giveBack(Block* b) {
  const size_t bytes = touched(b);
  if (isWholeSegment(b)) {
    leave(b);
    Segment* segment = segmentOf(b);
    munmap(segment, segment->length);
    return bytes;
  }
  char* from = pageAbove(std::max(b->touchedFrom, static_cast<char*>(b->data())));
  char* to = pageBelow(std::min(b->touchedTo, b->end()));
  leaveQueue(b);
  idle -= bytes;
  b->touchedFrom = b->touchedTo = nullptr;
  if (from >= to) return 0;
  Segment* segment = segmentOf(b);
  if (segment->huge)
    madvise(segment, segment->length, MADV_NOHUGEPAGE);  // else the system fills the hole again with a huge page
  segment->huge = false;
  madvise(from, to - from, MADV_DONTNEED);
  return to - from;
}
size_t giveBackUntil(size_t keep) {
  size_t bytes = 0;
  while (idle > keep && oldest) bytes += giveBack(oldest);
  return bytes;
}
void settle() {
  if (turned.exchange(false, std::memory_order_relaxed)) budget.turned();
  const size_t allowed = budget.allowed(live);
  if (idle > allowed) giveBackUntil(allowed);
}

/** Cuts a block that is in no list to `size`; what is left of it is free, and as old as it was. */
void cut(Block* b, size_t size, Block* behind) {
  if (b->size() - size < kLeast) return;
  auto* rest = new (b->begin() + size) Block{};
  rest->units = b->units - size / Block::kUnit;
  rest->last = b->last;
  rest->own = b->own;
  rest->before = b;
  rest->touchedFrom = b->touchedFrom;
  rest->touchedTo = b->touchedTo;
  if (Block* above = rest->above()) above->before = rest;
  b->units = size / Block::kUnit;
  b->last = 0;
  enter(rest, behind);
}
/** Joins a block that is in no list with the one above it, which is in none either. */
void join(Block* b, Block* above) {
  if (above->touchedTo) {
    b->touchedFrom = b->touchedTo ? std::min(b->touchedFrom, above->touchedFrom) : above->touchedFrom;
    b->touchedTo = std::max(b->touchedTo, above->touchedTo);
  }
  b->units += above->units;
  b->last = above->last;
  if (Block* next = b->above()) next->before = b;
}

}  // namespace

Block* allocate(size_t bytes) {
  const size_t size = std::max(roundUp(bytes, sizeof(Block)) + sizeof(Block), kLeast);
  std::lock_guard<std::mutex> lock(mutex);
  Block* b = find(size);
  Block* behind = nullptr;
  if (b) {
    behind = b->touchedTo ? b->younger : nullptr;
    leave(b);
  } else {
    b = mapSegment(size);
    if (!b && giveBackUntil(0) > 0) b = mapSegment(size);
    if (!b) return nullptr;
  }
  cut(b, size, behind);
  if (touched(b) < b->size()) misses++;
  b->used = 1;
  live += b->size();
  budget.took(b->size(), live);
  settle();
  return b;
}

void release(Block* b) {
  std::lock_guard<std::mutex> lock(mutex);
  live -= b->size();
  b->touchedFrom = pageBelow(b->begin());
  b->touchedTo = pageAbove(b->end());
  if (Block* above = b->above(); above && !above->used) {
    leave(above);
    join(b, above);
  }
  if (Block* below = b->before; below && !below->used) {
    leave(below);
    join(below, b);
    b = below;
  }
  enter(b, nullptr);
  settle();
}

size_t trim() {
  std::lock_guard<std::mutex> lock(mutex);
  return giveBackUntil(0);
}
void setCap(size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  budget.cap = bytes;
  giveBackUntil(bytes);
}
Stats stats() {
  std::lock_guard<std::mutex> lock(mutex);
  return {idle, misses, budget.cap};
}

}  // namespace nbit::heap
