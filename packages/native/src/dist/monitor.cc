#include "dist/monitor.h"

#include "binding/errors.h"
#include "dist/translate.h"

#include <algorithm>
#include <thread>

namespace nbit::dist {
namespace {
constexpr Milliseconds kJudge{50};
Clock::time_point now() { return Clock::now(); }
/** Five times a second; less often in a large world, whose store answers everybody about everybody. */
Milliseconds beatOf(int size) { return Milliseconds(std::clamp(size * 3, 200, 2000)); }
}  // namespace

Monitor::Monitor(c10::intrusive_ptr<c10d::Store> store, std::unique_ptr<Pulse> pulse, Options options)
    : store_(std::move(store)), pulse_(std::move(pulse)), options_(std::move(options)), beat_(beatOf(options_.size)) {
  seen_.resize(static_cast<size_t>(options_.size));
}

template <class F>
void Monitor::startThread(F body) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    threads_++;
  }
  std::thread([self = shared_from_this(), body] {
    try {
      body();
    } catch (...) {  // without this thread others still see to it that nothing hangs
    }
    const std::lock_guard<std::mutex> lock(self->mutex_);
    self->threads_--;
    self->changed_.notify_all();
  }).detach();
}

void Monitor::start(Clock::time_point until) {
  for (Seen& seen : seen_) seen.newBeat = seen.newActivity = now();
  lastExchange_ = now();
  if (pulse_)
    startThread([this] {
      pulse_->listen([this](int rank, Pulse::Said said, const std::string& text) { heard(rank, said, text); });
    });
  publish();
  std::vector<std::string> keys;
  for (int r = 0; r < options_.size; r++) keys.push_back("beat/" + std::to_string(r));
  while (!store_->check(keys)) {
    throwIfFailed(failure_);
    if (now() > until)
      fail("ERR_DIST_CONNECT", "initProcessGroup: rank " + std::to_string(options_.rank) +
                                   " waited in vain for the others' first heartbeats");
    std::this_thread::sleep_for(Milliseconds(10));
  }
  readOthers();
  startThread([this] { beatLoop(); });
  startThread([this] { judgeLoop(); });
}

void Monitor::close() {
  failure_.set({"ERR_DIST_NOT_INITIALIZED",
                here() + ": expected a process group. Received: one that was left (destroyProcessGroup) before this "
                         "ended. Wait for collectives before, on every rank"});
  std::unique_lock<std::mutex> lock(mutex_);
  ending_ = true;
  if (pulse_) pulse_->stop();
  aborted_.clear();
  changed_.notify_all();
  changed_.wait_for(lock, Milliseconds(1000), [this] { return threads_ == 0; });
}

void Monitor::step(int64_t n) {
  const std::lock_guard<std::mutex> lock(mutex_);
  step_ = n;
}

Operation Monitor::begin(const std::string& what, const std::string& group, const std::vector<int64_t>& members,
                         bool pair) {
  const std::lock_guard<std::mutex> lock(mutex_);
  collectives_++;
  latest_ = Operation{what, group, {}, pair ? 0 : ++begun_[group], pair};
  if (static_cast<int>(members.size()) < options_.size) latest_.members = members;
  latestAt_ = now();
  return latest_;
}

int64_t Monitor::enter(const Operation& operation, Milliseconds limit, bool blocks) {
  const std::lock_guard<std::mutex> lock(mutex_);
  waits_.emplace(nextWait_, Wait{operation, now(), limit, blocks});
  return nextWait_++;
}
void Monitor::leave(int64_t wait) {
  const std::lock_guard<std::mutex> lock(mutex_);
  waits_.erase(wait);
}

void Monitor::failed(const std::string& message) {
  Entry entry;
  bool first = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (finished_ || ending_ || !ownFailure_.empty()) return;
    ownFailure_ = message;
    first = !failure_.get();
    entry = mine();
    entry.begun.clear();
  }
  if (pulse_) pulse_->tellAll(first ? Pulse::Said::kFailed : Pulse::Said::kFollowed, entry.encode());
  failure_.set({"ERR_DIST_FAILED", "this rank has failed: " + message});
}

void Monitor::finish() {
  throwIfFailed(failure_);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    finished_ = true;
  }
  // Whoever ends first would look lost to those that have not heard of it: all leave together.
  if (pulse_) pulse_->tellAll(Pulse::Said::kFinished, "");
  const auto limit = now() + options_.timeout;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!everyoneFinished() && !failure_.get() && now() < limit) changed_.wait_for(lock, Milliseconds(10));
  const bool late = !everyoneFinished();
  const Failure tooLate = verdict("ERR_DIST_TIMEOUT", "waited for " + std::to_string(options_.timeout.count()) +
                                                          " ms, its limit (timeout), to leave together. " + others());
  lock.unlock();
  if (late) failure_.set(tooLate);
  throwIfFailed(failure_);
}

bool Monitor::everyoneFinished() const {
  for (size_t r = 0; r < seen_.size(); r++)
    if (static_cast<int>(r) != options_.rank && !seen_[r].finished) return false;
  return true;
}

Failure Monitor::reasonOr(const Failure& own) {
  for (int i = 0; i < 100 && !failure_.get(); i++) std::this_thread::sleep_for(Milliseconds(20));
  failure_.set(own);
  return *failure_.get();
}

void Monitor::publish() {
  std::string text;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    beats_++;
    text = mine().encode();
  }
  store_->set("beat/" + std::to_string(options_.rank), std::vector<uint8_t>(text.begin(), text.end()));
}

void Monitor::readOthers() {
  std::vector<std::string> keys;
  for (int r = 0; r < options_.size; r++) keys.push_back("beat/" + std::to_string(r));
  const auto values = store_->multiGet(keys);
  const std::lock_guard<std::mutex> lock(mutex_);
  for (size_t r = 0; r < values.size() && r < seen_.size(); r++) {
    Entry entry = Entry::decode(std::string(values[r].begin(), values[r].end()));
    Seen& seen = seen_[r];
    if (entry.beat != seen.entry.beat) seen.newBeat = now();
    if (!entry.sameActivity(seen.entry)) seen.newActivity = now();
    seen.entry = std::move(entry);
  }
  lastExchange_ = now();
}

void Monitor::beatLoop() {
  for (;;) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait_for(lock, beat_, [this] { return ending_; });
      if (ending_) return;
    }
    try {
      publish();
      readOthers();
    } catch (...) {
      const Failure reason = translate(std::current_exception());
      const std::lock_guard<std::mutex> lock(mutex_);
      storeError_ = reason.message;
      storeErrorAt_ = now();
      return;
    }
  }
}

void Monitor::heard(int rank, Pulse::Said said, const std::string& text) {
  std::optional<Failure> atOnce;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Seen& seen = seen_[static_cast<size_t>(rank)];
    if (said == Pulse::Said::kFinished) {
      seen.finished = true;
      seen.newActivity = now();
    } else if (said == Pulse::Said::kEnded) {
      if (seen.finished || (seen.lastWord && seen.follows)) return;
      const std::string what = seen.entry.operation.what;
      if (!seen.lastWord)
        seen.lastWord = verdict("ERR_DIST_PEER_LOST",
                                "rank " + std::to_string(rank) + " has died, or was cut off: its connection ended (" +
                                    text + "). It was seen last at step " + std::to_string(seen.entry.step) +
                                    (what.empty() ? "" : ", in " + what));
      if (!ending_) atOnce = seen.lastWord;
    } else {
      Entry entry = Entry::decode(text);
      seen.entry.activity = entry.activity;
      seen.entry.step = entry.step;
      seen.entry.operation.what = entry.operation.what;
      seen.lastWord = verdict("ERR_DIST_PEER_FAILED", entry.describe(rank));
      seen.lastWordAt = now();
      // Not at once: its process is to end first, so that whoever started both sees who failed.
      seen.follows = said == Pulse::Said::kFollowed;
    }
    changed_.notify_all();
  }
  if (atOnce) failure_.set(*atOnce);
}

std::string Monitor::table() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string s;
  for (int r = 0; r < options_.size; r++) {
    Entry entry = r == options_.rank ? mine() : seen_[static_cast<size_t>(r)].entry;
    if (seen_[static_cast<size_t>(r)].finished) entry.activity = Activity::kFinished;
    s += entry.describe(r) + "\n";
  }
  return s;
}
std::string Monitor::here() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return where();
}

void Monitor::abortOnFailure(c10::intrusive_ptr<c10d::Backend> backend) {
  const std::lock_guard<std::mutex> lock(mutex_);
  aborted_.push_back(std::move(backend));
}

/** Sees to it that a failure reaches a thread that waits for a device, too. */
void Monitor::judgeLoop() {
  auto last = now();
  for (;;) {
    std::vector<c10::intrusive_ptr<c10d::Backend>> toAbort;
    Verdict found;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait_for(lock, kJudge, [this] { return ending_; });
      if (ending_) return;
      const auto at = now();
      // This process itself was stopped: what it has not heard meanwhile says nothing about the others.
      if (at - last > Milliseconds(1000)) {
        lastExchange_ = at;
        for (Seen& seen : seen_) seen.newBeat = seen.newActivity = at;
      }
      last = at;
      if (!failure_.get()) found = judge(at);
    }
    if (found) failure_.set(*found);
    if (failure_.get()) {
      const std::lock_guard<std::mutex> lock(mutex_);
      toAbort.swap(aborted_);
    }
    for (const auto& backend : toAbort) {
      try {
        backend->abort();
      } catch (...) {  // it is as dead as it can be
      }
    }
  }
}

}  // namespace nbit::dist
