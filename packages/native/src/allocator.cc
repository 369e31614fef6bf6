// A caching allocator for CPU tensors. PyTorch's own returns every large block to the kernel, which then faults its pages in again at the next step:
// up to a third of a large step. Blocks are kept in size classes (four per doubling), small ones per thread, large ones in one list under a cap.
#include "core.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace nbit {
namespace {

struct Header {
  uint32_t sizeClass;
  uint32_t large;
  size_t capacity;
  void* next;
  char pad[64 - 24];
};
static_assert(sizeof(Header) == 64);  // tensors stay aligned to 64 bytes

constexpr int kClasses = 4 * 42;
constexpr size_t kLarge = 1 << 18;       // from 256 KiB on: mapped, huge pages, one shared list
constexpr size_t kHugePage = 2u << 20;
constexpr uint32_t kSmallPerClass = 512;  // blocks a thread keeps of one class
constexpr size_t kSmallBytes = 8u << 20;  // and bytes of one class

uint32_t classOf(size_t n) {
  if (n <= 64) return 0;
  const uint64_t v = n - 1;
  const int top = 63 - __builtin_clzll(v);
  return (top - 6) * 4 + ((v >> (top - 2)) & 3) + 1;
}
size_t sizeOfClass(uint32_t c) {
  if (c == 0) return 64;
  c--;
  return static_cast<size_t>(4 + c % 4 + 1) << (c / 4 + 4);
}

std::atomic<int64_t> liveBytes{0}, peakBytes{0}, smallCached{0};
std::atomic<int64_t> allocations{0}, misses{0};
std::mutex largeMutex;
std::array<Header*, kClasses> largeFree{};
size_t largeCached = 0;
size_t largeCap = size_t{4} << 30;
bool installed = false;

struct ThreadCache {
  std::array<Header*, kClasses> head{};
  std::array<uint32_t, kClasses> count{};
  void trim() {
    for (int c = 0; c < kClasses; c++)
      while (Header* h = head[c]) {
        head[c] = static_cast<Header*>(h->next);
        smallCached -= static_cast<int64_t>(h->capacity);
        std::free(h);
      }
    count.fill(0);
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
    owner.mine = cache = new ThreadCache();
  }
  return cache;
}

size_t mappedSize(size_t total) { return (total + kHugePage - 1) / kHugePage * kHugePage; }
void* mapLarge(size_t total) {
  const size_t length = mappedSize(total);
  char* p = static_cast<char*>(mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (p == MAP_FAILED) return nullptr;
  char* aligned = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(p) + kHugePage - 1) / kHugePage * kHugePage);
  if (aligned > p) munmap(p, aligned - p);
  char* end = aligned + length;
  char* mapEnd = p + length + kHugePage;
  if (mapEnd > end) munmap(end, mapEnd - end);
  madvise(aligned, length, MADV_HUGEPAGE);
  return aligned;
}
void unmapLarge(Header* h) { munmap(h, mappedSize(h->capacity + sizeof(Header))); }

size_t trimLarge(size_t keep) {
  std::lock_guard<std::mutex> lock(largeMutex);
  size_t freed = 0;
  for (int c = kClasses - 1; c >= 0 && largeCached > keep; c--)
    while (largeFree[c] && largeCached > keep) {
      Header* h = largeFree[c];
      largeFree[c] = static_cast<Header*>(h->next);
      largeCached -= h->capacity;
      freed += h->capacity;
      unmapLarge(h);
    }
  return freed;
}

void freeBlock(void* data) {
  if (!data) return;
  auto* h = reinterpret_cast<Header*>(static_cast<char*>(data) - sizeof(Header));
  liveBytes -= static_cast<int64_t>(h->capacity);
  if (!h->large) {
    ThreadCache* t = threadCache();
    const uint32_t c = h->sizeClass;
    if (t && t->count[c] < kSmallPerClass && t->count[c] * h->capacity < kSmallBytes) {
      h->next = t->head[c];
      t->head[c] = h;
      t->count[c]++;
      smallCached += static_cast<int64_t>(h->capacity);
    } else {
      std::free(h);
    }
    return;
  }
  {
    std::lock_guard<std::mutex> lock(largeMutex);
    if (largeCached + h->capacity <= largeCap) {
      h->next = largeFree[h->sizeClass];
      largeFree[h->sizeClass] = h;
      largeCached += h->capacity;
      return;
    }
  }
  unmapLarge(h);
}

Header* smallBlock(uint32_t c) {
  ThreadCache* t = threadCache();
  if (t && t->head[c]) {
    Header* h = t->head[c];
    t->head[c] = static_cast<Header*>(h->next);
    t->count[c]--;
    smallCached -= static_cast<int64_t>(h->capacity);
    return h;
  }
  ++misses;
  void* p = nullptr;
  const size_t capacity = sizeOfClass(c);
  if (posix_memalign(&p, 64, capacity + sizeof(Header)) != 0) return nullptr;
  auto* h = static_cast<Header*>(p);
  h->sizeClass = c;
  h->large = 0;
  h->capacity = capacity;
  return h;
}
Header* largeBlock(uint32_t c) {
  {
    std::lock_guard<std::mutex> lock(largeMutex);
    if (Header* h = largeFree[c]) {
      largeFree[c] = static_cast<Header*>(h->next);
      largeCached -= h->capacity;
      return h;
    }
  }
  ++misses;
  const size_t capacity = sizeOfClass(c);
  void* p = mapLarge(capacity + sizeof(Header));
  if (!p) {
    trimLarge(0);
    p = mapLarge(capacity + sizeof(Header));
    if (!p) return nullptr;
  }
  auto* h = static_cast<Header*>(p);
  h->sizeClass = c;
  h->large = 1;
  h->capacity = capacity;
  return h;
}

struct CachingAllocator final : at::Allocator {
  at::DataPtr allocate(size_t n) override {
    if (n == 0) return {nullptr, nullptr, &freeBlock, at::Device(at::kCPU)};
    TORCH_CHECK_WITH(OutOfMemoryError, n < (size_t{1} << 46), "tried to allocate ", n, " bytes");
    const uint32_t c = classOf(n);
    Header* h = n < kLarge ? smallBlock(c) : largeBlock(c);
    TORCH_CHECK_WITH(OutOfMemoryError, h, "out of memory: tried to allocate ", n, " bytes on the CPU");
    allocations.fetch_add(1, std::memory_order_relaxed);
    const int64_t live = liveBytes += static_cast<int64_t>(h->capacity);
    int64_t peak = peakBytes.load(std::memory_order_relaxed);
    while (live > peak && !peakBytes.compare_exchange_weak(peak, live)) {}
    void* data = reinterpret_cast<char*>(h) + sizeof(Header);
    return {data, data, &freeBlock, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &freeBlock; }
  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }
} allocator;

}  // namespace

// Once, before the first tensor: blocks remember which allocator frees them, so a later switch is safe but mixes the counts.
NBIT_FN(allocatorInstall) {
  (void)info;
  NBIT_TRY
  if (!installed) c10::SetCPUAllocator(&allocator, 10);
  installed = true;
  return nullptr;
  NBIT_CATCH("allocator")
}
// → buffer: installed, live bytes, peak bytes, cached bytes, allocations, misses, cap
NBIT_FN(allocatorStats) {
  (void)info;
  std::lock_guard<std::mutex> lock(largeMutex);
  buffer[0] = installed;
  buffer[1] = static_cast<double>(liveBytes.load());
  buffer[2] = static_cast<double>(peakBytes.load());
  buffer[3] = static_cast<double>(largeCached) + static_cast<double>(smallCached.load());
  buffer[4] = static_cast<double>(allocations.load());
  buffer[5] = static_cast<double>(misses.load());
  buffer[6] = static_cast<double>(largeCap);
  (void)env;
  return nullptr;
}
NBIT_FN(allocatorResetPeak) {
  (void)env;
  (void)info;
  peakBytes = liveBytes.load();
  return nullptr;
}
// (bytes): how much of large blocks may lie idle
NBIT_FN(allocatorSetCap) {
  Args a(env, info);
  NBIT_TRY
  largeCap = static_cast<size_t>(a.number(0));
  trimLarge(largeCap);
  return nullptr;
  NBIT_CATCH("setCacheLimit")
}
/** Idle memory goes back to the system: all large blocks, and this thread's small ones. */
NBIT_FN(allocatorTrim) {
  (void)info;
  const size_t freed = trimLarge(0);
  if (cache) cache->trim();
  return toJs(env, static_cast<double>(freed));
}

std::vector<Entry> allocatorEntries() {
  return {{"allocatorInstall", allocatorInstall}, {"allocatorStats", allocatorStats}, {"allocatorResetPeak", allocatorResetPeak}, {"allocatorSetCap", allocatorSetCap}, {"allocatorTrim", allocatorTrim}};
}

}  // namespace nbit
