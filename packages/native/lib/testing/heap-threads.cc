// Several threads take blocks of all sizes, fill them, hand them to one another and give them back; every block must
// have kept its bytes. Exits with the number of faults, 100 at most.
#include "../../src/memory/heap.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace {
using nbit::Block;

struct Held {
  Block* block;
  size_t bytes;
  unsigned char value;
};
std::mutex mutex;
std::vector<Held> shared;  // whoever comes takes one and gives it back
std::atomic<int> faults{0};

void fill(const Held& h) { std::memset(h.block->data(), h.value, h.bytes); }
void check(const Held& h) {
  const auto* p = static_cast<const unsigned char*>(h.block->data());
  if (reinterpret_cast<uintptr_t>(p) % 64 != 0 || h.block->capacity() < h.bytes) faults++;
  for (size_t i = 0; i < h.bytes; i += 509)
    if (p[i] != h.value) {
      faults++;
      return;
    }
  if (p[h.bytes - 1] != h.value) faults++;
}
void giveBack(const Held& h) {
  check(h);
  nbit::heap::release(h.block);
}

void work(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Held> mine;
  for (int i = 0; i < 3000; i++) {
    switch (random() % 8) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const size_t bytes = 1 + (random() % 16 == 0 ? random() % (6u << 20) : random() % 300000);
        Block* b = nbit::heap::allocate(bytes);
        if (!b) {
          faults++;
          break;
        }
        mine.push_back({b, bytes, static_cast<unsigned char>(random())});
        fill(mine.back());
        break;
      }
      case 4: {
        std::lock_guard<std::mutex> lock(mutex);
        if (!mine.empty()) shared.push_back(mine.back()), mine.pop_back();
        break;
      }
      case 5: {
        Held h{};
        {
          std::lock_guard<std::mutex> lock(mutex);
          if (!shared.empty()) h = shared.back(), shared.pop_back();
        }
        if (h.block) giveBack(h);
        break;
      }
      default:
        if (mine.empty()) break;
        std::swap(mine[random() % mine.size()], mine.back());
        giveBack(mine.back());
        mine.pop_back();
        if (random() % 64 == 0) nbit::heap::turn();
        if (random() % 512 == 0) nbit::heap::trim();
    }
  }
  for (const Held& h : mine) giveBack(h);
}
}  // namespace

int main() {
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; seed++) threads.emplace_back(work, seed);
  for (auto& t : threads) t.join();
  for (const Held& h : shared) giveBack(h);
  nbit::heap::trim();
  if (nbit::heap::stats().idle != 0) faults++;
  std::printf("%d faults, %zu bytes idle\n", faults.load(), nbit::heap::stats().idle);
  return faults > 100 ? 100 : faults.load();
}
