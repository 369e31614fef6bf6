// The allocator of CPU tensors. PyTorch's own returns every large block to the kernel, which then faults its pages in
// again at the next step: up to a third of a large step. Small blocks are the C library's, kept per thread in size
// classes (four per doubling); large ones come from the heap.
#include "binding/core.h"
#include "entries/allocator.h"
#include "memory/heap.h"
#include "memory/reports.h"

#include <c10/core/CPUAllocator.h>

#include <array>
#include <atomic>
#include <mutex>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

namespace nbit {
namespace {

constexpr size_t kLarge = size_t{32} << 10;
constexpr size_t kMost = size_t{1} << 44;  // bytes; more is no size of this world, and would overflow a sum
constexpr int kClasses = 4 * 10;
constexpr uint32_t kSmallPerClass = 512;   // blocks a thread keeps of one class
constexpr size_t kSmallBytes = 32u << 20;  // and bytes in all

uint32_t classOf(size_t n) {
  if (n <= 64) return 0;
  const uint64_t v = n - 1;
  const int top = 63 - std::countl_zero(v);
  return (top - 6) * 4 + ((v >> (top - 2)) & 3) + 1;
}
size_t sizeOfClass(uint32_t c) {
  if (c == 0) return 64;
  c--;
  return static_cast<size_t>(4 + c % 4 + 1) << (c / 4 + 4);
}

std::atomic<int64_t> liveBytes{0}, peakBytes{0}, smallIdle{0};
std::atomic<int64_t> allocations{0}, smallMisses{0};
std::atomic<bool> installed{false};

// ---------------------------------------------------------------- failures on purpose
// For tests: the n-th allocation from now on fails, and so do the following ones. 0: none does.
std::atomic<int64_t> failIn{0}, failures{0};
bool failWithBadAlloc = false;

void __attribute__((noinline, cold)) countDown(size_t n) {
  const int64_t left = failIn.fetch_sub(1, std::memory_order_relaxed);
  if (left > 1) return;
  failIn.store(failures.fetch_sub(1, std::memory_order_relaxed) > 1 ? 1 : 0, std::memory_order_relaxed);
  if (failWithBadAlloc) throw std::bad_alloc();
  TORCH_CHECK_WITH(OutOfMemoryError, false, "out of memory: tried to allocate ", n,
                   " bytes on the CPU (a failure that was asked for)");
}

// ---------------------------------------------------------------- small blocks
struct ThreadCache {
  std::array<Block*, kClasses> head{};
  std::array<uint32_t, kClasses> count{};
  size_t bytes = 0;
  void trim() {
    for (auto& first : head)
      while (Block* b = first) {
        first = b->next;
        std::free(b);
      }
    count.fill(0);
    smallIdle -= static_cast<int64_t>(bytes);
    bytes = 0;
  }
  ~ThreadCache() { trim(); }
};
thread_local ThreadCache* cache = nullptr;
thread_local bool threadEnding = false;
struct CacheOwner {
  ThreadCache* mine = nullptr;
  ~CacheOwner() {
    threadEnding = true;
    delete mine;
    cache = nullptr;
  }
};
ThreadCache* threadCache() {
  if (!cache && !threadEnding) {
    static thread_local CacheOwner owner;
    owner.mine = cache = new (std::nothrow) ThreadCache();
  }
  return cache;
}

Block* allocateSmall(size_t n) {
  const uint32_t c = classOf(n);
  ThreadCache* t = threadCache();
  if (t && t->head[c]) {
    Block* b = t->head[c];
    t->head[c] = b->next;
    t->count[c]--;
    t->bytes -= b->capacity();
    smallIdle -= static_cast<int64_t>(b->capacity());
    return b;
  }
  ++smallMisses;
  void* p = nullptr;
  const size_t size = sizeOfClass(c) + sizeof(Block);
  if (posix_memalign(&p, sizeof(Block), size) != 0) return nullptr;
  auto* b = new (p) Block{};
  b->units = size / Block::kUnit;
  b->small = 1;
  b->sizeClass = c;
  return b;
}
void releaseSmall(Block* b) {
  ThreadCache* t = threadCache();
  const size_t capacity = b->capacity();
  const auto c = static_cast<uint32_t>(b->sizeClass);
  if (!t || t->count[c] >= kSmallPerClass || t->bytes + capacity > kSmallBytes) {
    std::free(b);
    return;
  }
  b->next = t->head[c];
  t->head[c] = b;
  t->count[c]++;
  t->bytes += capacity;
  smallIdle += static_cast<int64_t>(capacity);
}
size_t trimAll() {
  if (cache) cache->trim();
  return heap::trim();
}

// ---------------------------------------------------------------- libtorch's side
void freeBlock(void* data) {
  if (!data) return;
  Block* b = Block::of(data);
  const int64_t live = liveBytes -= static_cast<int64_t>(b->capacity());
  if (memoryReported.load(std::memory_order_relaxed)) [[unlikely]]
    reportFree(data, live);
  if (b->small) releaseSmall(b);
  else heap::release(b);
}
Block* allocateBlock(size_t n) { return n < kLarge ? allocateSmall(n) : heap::allocate(n); }

struct CachingAllocator final : at::Allocator {
  at::DataPtr allocate(size_t n) override {
    if (n == 0) return {nullptr, nullptr, &freeBlock, at::Device(at::kCPU)};
    if (failIn.load(std::memory_order_relaxed) != 0) [[unlikely]]
      countDown(n);
    TORCH_CHECK_WITH(OutOfMemoryError, n < kMost, "out of memory: tried to allocate ", n, " bytes on the CPU");
    Block* b = allocateBlock(n);
    if (!b) [[unlikely]] {
      trimAll();
      b = allocateBlock(n);
    }
    TORCH_CHECK_WITH(OutOfMemoryError, b, "out of memory: tried to allocate ", n, " bytes on the CPU");
    allocations.fetch_add(1, std::memory_order_relaxed);
    const int64_t live = liveBytes += static_cast<int64_t>(b->capacity());
    int64_t peak = peakBytes.load(std::memory_order_relaxed);
    while (live > peak && !peakBytes.compare_exchange_weak(peak, live)) {}
    if (memoryReported.load(std::memory_order_relaxed)) [[unlikely]]
      reportAllocation(b->data(), n, live);
    return {b->data(), b->data(), &freeBlock, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &freeBlock; }
  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }
} allocator;

}  // namespace

void entries::allocatorInstall() {
  if (!installed.exchange(true)) c10::SetCPUAllocator(&allocator, 10);
}
void entries::allocatorStats() {
  const heap::Stats large = heap::stats();
  js->buffer[0] = installed;
  js->buffer[1] = static_cast<double>(liveBytes.load());
  js->buffer[2] = static_cast<double>(peakBytes.load());
  js->buffer[3] = static_cast<double>(static_cast<int64_t>(large.idle) + smallIdle.load());
  js->buffer[4] = static_cast<double>(allocations.load());
  js->buffer[5] = static_cast<double>(static_cast<int64_t>(large.misses) + smallMisses.load());
  js->buffer[6] = static_cast<double>(large.cap);
}
void entries::allocatorResetPeak() { peakBytes = liveBytes.load(); }
void entries::allocatorSetCap(const Args& a) {
  const double bytes = a.number(0);
  heap::setCap(bytes < static_cast<double>(kMost) ? static_cast<size_t>(std::max(bytes, 0.0)) : kMost);
}
double entries::allocatorTrim() { return static_cast<double>(trimAll()); }
double entries::allocatorFail(const Args& a) {
  const int64_t left = failIn.load() != 0 ? failures.load() : 0;
  failIn = 0;
  failures = a.integer(1);
  failWithBadAlloc = a.flag(2);
  failIn = a.integer(0);
  return static_cast<double>(left);
}

}  // namespace nbit
