// What each rank is doing, as every other rank can read it in the store: its heartbeat.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace nbit::dist {

enum class Activity : char {
  kRunning = 'R',   // in JavaScript, or in a kernel
  kWaiting = 'W',   // in a collective, for others
  kFailed = 'F',    // of its own; `what` says how
  kFinished = 'X',  // has left the group in order
};

struct Entry {
  int64_t beat = 0;
  Activity activity = Activity::kRunning;
  int64_t step = 0;
  /** How many collectives it has begun. */
  int64_t collectives = 0;
  /** The group and the operation that it waits in, or was in last; after a failure its message. */
  std::string what;

  std::vector<uint8_t> encode() const;
  static Entry decode(const std::vector<uint8_t>& bytes);
  /** Such as "rank 1 waits in all_reduce(float32[4]), its collective 12 (step 3)". */
  std::string describe(int rank) const;
};

}  // namespace nbit::dist
