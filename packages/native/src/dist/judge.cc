// What a rank concludes from what it has seen of the others.
#include "dist/monitor.h"

#include <algorithm>
#include <sstream>

namespace nbit::dist {
namespace {
/** Ranks that wait in different places for so long will wait for ever. */
constexpr Milliseconds kStuck{1500};
/** So long a rank that has said that it failed may take to end. */
constexpr Milliseconds kLastWord{700};
/** Of one that only follows another's failure: that one's own word may be on its way. */
constexpr Milliseconds kFollower{300};
/** The store goes with the process of rank 0, whose words count more. */
constexpr Milliseconds kStoreGrace{1000};

int64_t milliseconds(Clock::duration d) { return std::chrono::duration_cast<Milliseconds>(d).count(); }
}  // namespace

const Monitor::Wait* Monitor::blocking() const {
  for (const auto& [id, wait] : waits_)
    if (wait.blocks) return &wait;
  return nullptr;
}

Entry Monitor::mine() const {
  Entry e;
  e.beat = beats_;
  e.step = step_;
  e.collectives = collectives_;
  e.begun = begun_;
  const Wait* wait = blocking();
  e.activity = wait ? Activity::kWaiting : Activity::kRunning;
  e.operation = wait ? wait->operation : latest_;
  if (finished_) e.activity = Activity::kFinished;
  if (!ownFailure_.empty()) {
    e.activity = Activity::kFailed;
    e.operation.what = ownFailure_;
  }
  return e;
}

std::string Monitor::where() const {
  std::ostringstream s;
  s << "rank " << options_.rank << " at step " << step_;
  if (const Wait* wait = blocking()) s << ", waiting in " << wait->operation.what;
  else if (!latest_.what.empty()) s << ", last in " << latest_.what;
  return s.str();
}

Failure Monitor::verdict(const char* code, const std::string& message) const {
  return {code, where() + ": " + message};
}

std::string Monitor::others() const {
  std::string s;
  for (int r = 0, said = 0; r < options_.size; r++) {
    if (r == options_.rank) continue;
    if (said++ == 8) return s + "; …";
    const Seen& seen = seen_[static_cast<size_t>(r)];
    Entry entry = seen.entry;
    if (seen.finished) entry.activity = Activity::kFinished;
    s += (s.empty() ? "" : "; ") + entry.describe(r);
  }
  return s;
}

Monitor::Verdict Monitor::judge(Clock::time_point now) const {
  if (Verdict v = judgeWords(now)) return v;
  if (Verdict v = judgeLives(now)) return v;
  if (Verdict v = judgeStore(now)) return v;
  if (Verdict v = judgeWaits(now)) return v;
  return judgeDevice(now);
}

Monitor::Verdict Monitor::judgeStore(Clock::time_point now) const {
  // Whoever leaves in order needs the store no more, and rank 0 may be gone already.
  if (finished_) return std::nullopt;
  if (storeError_ && now - storeErrorAt_ > kStoreGrace)
    return verdict("ERR_DIST_PEER_LOST",
                   "the store, " + options_.storeOwner + ", cannot be reached any more (" + *storeError_ + ")");
  if (now - lastExchange_ > options_.heartbeatTimeout)
    return verdict("ERR_DIST_PEER_LOST", "the store, " + options_.storeOwner + ", has not answered for " +
                                             std::to_string(milliseconds(now - lastExchange_)) + " ms");
  return std::nullopt;
}

Monitor::Verdict Monitor::judgeWords(Clock::time_point now) const {
  bool someoneEnds = false;
  for (const Seen& seen : seen_) {
    if (!seen.lastWord || seen.follows) continue;
    if (now - seen.lastWordAt > kLastWord) return seen.lastWord;
    someoneEnds = true;
  }
  for (const Seen& seen : seen_)
    if (!someoneEnds && seen.lastWord && now - seen.lastWordAt > kFollower) return seen.lastWord;
  return std::nullopt;
}

Monitor::Verdict Monitor::judgeLives(Clock::time_point now) const {
  for (int r = 0; r < options_.size; r++) {
    const Seen& seen = seen_[static_cast<size_t>(r)];
    if (r == options_.rank || seen.finished) continue;
    // As of the last time that the store answered: its silence is not this rank's.
    const auto silent = lastExchange_ - seen.newBeat;
    if (silent <= options_.heartbeatTimeout) continue;
    const std::string& what = seen.entry.operation.what;
    return verdict("ERR_DIST_PEER_LOST", "rank " + std::to_string(r) + " gives no sign of life (silent for " +
                                             std::to_string(milliseconds(silent)) + " ms; it was seen last at step " +
                                             std::to_string(seen.entry.step) + (what.empty() ? "" : ", in " + what) +
                                             ")");
  }
  return std::nullopt;
}

Monitor::Verdict Monitor::judgeWaits(Clock::time_point now) const {
  const Wait* wait = blocking();
  if (wait && options_.size > 1 && now - wait->since > kStuck) {
    std::vector<Entry> all;
    bool stuck = true;
    for (int r = 0; r < options_.size; r++) {
      const Seen& seen = seen_[static_cast<size_t>(r)];
      all.push_back(r == options_.rank ? mine() : seen.entry);
      if (seen.finished) all.back().activity = Activity::kFinished;
      stuck = stuck && (r == options_.rank || now - seen.newActivity > kStuck);
    }
    if (stuck && nothingCanEnd(all))
      return verdict("ERR_DIST_MISMATCH",
                     "the ranks do different things, and would wait for each other for ever: " + others() +
                         ". Every rank must call the same collectives in the same order");
  }
  for (const auto& [id, w] : waits_)
    if (now - w.since > w.limit)
      return verdict("ERR_DIST_TIMEOUT", "waited for " + std::to_string(milliseconds(now - w.since)) +
                                             " ms, its limit (timeout), in " + w.operation.what + ". " + others());
  return std::nullopt;
}

/**
 * What a device waits for is in nobody's list. A rank that has begun nothing more since its latest collective, which
 * another has not begun at all, waits for that one, here or on its device.
 */
Monitor::Verdict Monitor::judgeDevice(Clock::time_point now) const {
  if (finished_ || latest_.pair || latest_.group.empty() || now - latestAt_ <= options_.timeout) return std::nullopt;
  const auto begun = begun_.find(latest_.group);
  if (begun == begun_.end()) return std::nullopt;
  const auto isMember = [this](int64_t r) {
    return latest_.members.empty() ||
           std::find(latest_.members.begin(), latest_.members.end(), r) != latest_.members.end();
  };
  for (int r = 0; r < options_.size; r++) {
    const Entry& entry = seen_[static_cast<size_t>(r)].entry;
    if (r == options_.rank || !isMember(r)) continue;
    const auto theirs = entry.begun.find(latest_.group);
    if (theirs != entry.begun.end() && theirs->second >= begun->second) continue;
    return verdict("ERR_DIST_TIMEOUT", "began " + latest_.what + " " + std::to_string(milliseconds(now - latestAt_)) +
                                           " ms ago, more than its limit (timeout), and rank " + std::to_string(r) +
                                           " has not. " + others());
  }
  return std::nullopt;
}

}  // namespace nbit::dist
