// What each rank is doing, as every other rank can read it in the store: its heartbeat. And what follows from all.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nbit::dist {

enum class Activity : char {
  kRunning = 'R',   // in JavaScript, or in a kernel
  kWaiting = 'W',   // in a collective, and its thread does nothing else
  kFailed = 'F',    // `what` says how
  kFinished = 'X',  // has left in order
};

/** A collective that a rank has begun. */
struct Operation {
  /** Such as "all_reduce(float32[4], sum)". */
  std::string what;
  std::string group;
  /** Of the group, in the world; empty: everybody. */
  std::vector<int64_t> members;
  /** The how manyth of its group. */
  int64_t sequence = 0;
  /** Between two ranks, which need not call the same. */
  bool pair = false;
};

struct Entry {
  int64_t beat = 0;
  Activity activity = Activity::kRunning;
  int64_t step = 0;
  /** How many collectives it has begun; and of each group. */
  int64_t collectives = 0;
  std::map<std::string, int64_t> begun;
  /** What it waits in, or was in last. After a failure `what` is its message. */
  Operation operation;

  std::string encode() const;
  static Entry decode(const std::string& text);
  bool sameActivity(const Entry& other) const;
  /** Such as "rank 1 waits in all_reduce(float32[4], sum), its collective 12, at step 3". */
  std::string describe(int rank) const;
};

/**
 * Whether ranks that all wait wait for each other for ever: none of the collectives that they are in can end. One can
 * when every member is in it, or past it (what it has sent may still be on its way).
 */
bool nothingCanEnd(const std::vector<Entry>& all);

}  // namespace nbit::dist
