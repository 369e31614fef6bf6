#include "dist/monitor.h"

#include "dist/translate.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <sstream>

namespace nbit::dist {
namespace {
constexpr Milliseconds kBeat{200};
/** Ranks that wait in different places for so long will wait for ever. */
constexpr Milliseconds kStuck{1500};
/** A connection ended; so long we wait to learn whose. */
constexpr Milliseconds kIdentify{1200};
Clock::time_point now() { return Clock::now(); }
}  // namespace

Monitor::Monitor(c10::intrusive_ptr<c10d::Store> store, c10::intrusive_ptr<c10d::Backend> pulse, Options options)
    : store_(std::move(store)), pulse_(std::move(pulse)), options_(options) {
  others_.assign(static_cast<size_t>(options_.size), {Entry{}, now(), now()});
  lastBeatDone_ = now().time_since_epoch().count();
  publish();
  readOthers();  // waits until all are there
  beat_ = std::thread([this] { beatLoop(); });
  watch_ = std::thread([this] { watchLoop(); });
  // Ends with its group, or with the process: a wait that nothing comes to cannot be called off.
  if (pulse_) std::thread([this] { pulseLoop(); }).detach();
}

Monitor::~Monitor() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (beat_.joinable()) beat_.join();
  if (watch_.joinable()) watch_.join();
}

void Monitor::step(int64_t n) {
  step_ = n;
  const std::lock_guard<std::mutex> lock(mutex_);
  mine_.step = n;
}

int64_t Monitor::enter(const std::string& what, Milliseconds timeout) {
  const std::lock_guard<std::mutex> lock(mutex_);
  mine_.activity = Activity::kWaiting;
  mine_.what = what;
  waitingSince_ = now();
  waitLimit_ = timeout;
  return ++mine_.collectives;
}
void Monitor::leave() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (mine_.activity == Activity::kWaiting) mine_.activity = Activity::kRunning;
}
void Monitor::note(const std::string& what) {
  const std::lock_guard<std::mutex> lock(mutex_);
  mine_.what = what;
  ++mine_.collectives;
}

void Monitor::failed(const std::string& message) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (finished_) return;
    mine_.activity = Activity::kFailed;
    mine_.what = message;
  }
  publish();
  failure_.set({"ERR_DIST_FAILED", "this rank has failed: " + message});
}

void Monitor::finish() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    mine_.activity = Activity::kFinished;
    finished_ = true;
  }
  try {
    publish();                       // at once: this rank may see that all others have ended before its next beat
  } catch (const std::exception&) {  // the beat finds out what that means
  }
  changed_.notify_all();
  // Whoever ends first would look lost to those that have not heard of it: all leave together.
  const auto limit = now() + options_.timeout;
  std::unique_lock<std::mutex> lock(mutex_);
  while (now() < limit && !failure_.get()) {
    const bool all = std::all_of(others_.begin(), others_.end(), [&](const Seen& s) {
      return &s == &others_[static_cast<size_t>(options_.rank)] || s.entry.activity == Activity::kFinished;
    });
    if (all) break;
    changed_.wait_for(lock, Milliseconds(10));
  }
  ending_ = true;
  lock.unlock();
  changed_.notify_all();
  if (beat_.joinable()) beat_.join();
  if (watch_.joinable()) watch_.join();
  throwIfFailed(failure_);
}

void Monitor::connectionBroke(const std::string& text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (pulseBroke_) return;
  pulseText_ = text;
  pulseBrokeAt_ = now();
  pulseBroke_ = true;
}

void Monitor::publish() {
  std::vector<uint8_t> bytes;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    mine_.beat++;
    bytes = mine_.encode();
  }
  store_->set(key(options_.rank), bytes);
}

void Monitor::readOthers() {
  std::vector<std::string> keys;
  for (int r = 0; r < options_.size; r++) keys.push_back(key(r));
  const auto values = store_->multiGet(keys);
  const std::lock_guard<std::mutex> lock(mutex_);
  for (size_t r = 0; r < values.size(); r++) {
    Entry entry = Entry::decode(values[r]);
    Seen& seen = others_[r];
    if (entry.beat != seen.entry.beat) seen.newBeat = now();
    if (entry.activity != seen.entry.activity || entry.collectives != seen.entry.collectives ||
        entry.what != seen.entry.what)
      seen.sameActivity = now();
    seen.entry = std::move(entry);
  }
}

void Monitor::beatLoop() {
  for (;;) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait_for(lock, finished_ ? Milliseconds(20) : kBeat, [this] { return ending_ || finished_; });
      if (ending_) return;
    }
    try {
      publish();
      readOthers();
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (ending_) return;
      // The store went with rank 0, which has ended in order.
      if (finished_ && others_[0].entry.activity == Activity::kFinished) {
        for (Seen& seen : others_) seen.entry.activity = Activity::kFinished;
        return;
      }
      const Failure f = translate(std::current_exception());
      reasonFound("ERR_DIST_PEER_LOST",
                  "the store, in the process of rank 0, does not answer: rank 0 has died, or its "
                  "machine cannot be reached (" +
                      f.message + ")");
      return;
    }
    lastBeatDone_ = now().time_since_epoch().count();
    judge();
  }
}

/** A wait for a message that nobody sends ends when a connection does: within milliseconds of a peer's death. */
void Monitor::pulseLoop() {
  std::string text;
  try {
    std::vector<at::Tensor> nothing{at::zeros({1})};
    pulse_->recvAnysource(nothing, 0)->wait();
    return;
  } catch (const std::exception& e) { text = e.what(); } catch (...) {
  }
  if (text.find("imed out") == std::string::npos) connectionBroke(text.substr(0, text.find('\n')));
}

void Monitor::reasonFound(const char* code, const std::string& message) {
  std::ostringstream s;
  s << "rank " << options_.rank << " at step " << mine_.step;
  if (mine_.activity == Activity::kWaiting || !mine_.what.empty())
    s << (mine_.activity == Activity::kWaiting ? ", waiting in " : ", last in ") << mine_.what;
  s << ": " << message << ".";
  failure_.set({code, s.str()});
}

void Monitor::judge() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (failure_.get() || judgeLives() || finished_) return;
  if (mine_.activity == Activity::kWaiting) judgeWait(mine_);
}

/** With mutex_: whether one has failed or died. */
bool Monitor::judgeLives() {
  const auto found = [this](const char* code, const std::string& message) {
    reasonFound(code, message);
    return true;
  };
  for (int r = 0; r < options_.size; r++) {
    if (r == options_.rank) continue;
    const Seen& seen = others_[static_cast<size_t>(r)];
    if (seen.entry.activity == Activity::kFailed) return found("ERR_DIST_PEER_FAILED", seen.entry.describe(r));
    if (seen.entry.activity == Activity::kFinished) continue;
    const auto silent = std::chrono::duration_cast<Milliseconds>(now() - seen.newBeat);
    const bool lost = pulseBroke_ && silent > kBeat * 4;
    if (lost || silent > options_.heartbeatTimeout) {
      std::ostringstream s;
      s << "rank " << r << (lost ? " has died" : " gives no sign of life") << " (silent for " << silent.count()
        << " ms; it was seen last at step " << seen.entry.step
        << (seen.entry.what.empty() ? "" : ", in " + seen.entry.what) << ")";
      return found("ERR_DIST_PEER_LOST", s.str());
    }
  }
  if (pulseBroke_ && now() - pulseBrokeAt_ > kIdentify) {
    const bool someoneEnded = std::any_of(others_.begin(), others_.end(),
                                          [](const Seen& s) { return s.entry.activity == Activity::kFinished; });
    if (!someoneEnded)
      return found("ERR_DIST_PEER_LOST", "a connection to another rank has ended (" + pulseText_ + ")");
  }
  return false;
}

/** With mutex_: whether what this rank waits for can still come. */
void Monitor::judgeWait(const Entry& mine) {
  const auto waited = std::chrono::duration_cast<Milliseconds>(now() - waitingSince_);
  const auto tableHere = [this] {
    std::string s;
    for (int r = 0; r < options_.size; r++)
      if (r != options_.rank) s += (s.empty() ? "" : "; ") + others_[static_cast<size_t>(r)].entry.describe(r);
    return s;
  };
  if (waited < kStuck) return;
  bool allStuck = options_.size > 1, differs = false;
  for (int r = 0; r < options_.size; r++) {
    if (r == options_.rank) continue;
    const Seen& seen = others_[static_cast<size_t>(r)];
    const bool ended = seen.entry.activity == Activity::kFinished;
    const bool stuck = ended || (seen.entry.activity == Activity::kWaiting && now() - seen.sameActivity > kStuck);
    allStuck = allStuck && stuck;
    differs = differs || ended || seen.entry.what != mine.what;
  }
  if (allStuck && differs)
    return reasonFound("ERR_DIST_MISMATCH",
                       "the ranks do different things, and would wait for each other for ever: " + tableHere() +
                           ". Every rank must call the same collectives in the same order");
  if (waited > waitLimit_)
    reasonFound("ERR_DIST_TIMEOUT",
                "waited for " + std::to_string(waited.count()) + " ms, its limit (timeout). " + tableHere());
}

std::string Monitor::table() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string s;
  for (int r = 0; r < options_.size; r++)
    s += (r == options_.rank ? mine_ : others_[static_cast<size_t>(r)].entry).describe(r) + "\n";
  return s;
}

void Monitor::abortOnFailure(c10::intrusive_ptr<c10d::Backend> backend) {
  const std::lock_guard<std::mutex> lock(mutex_);
  aborted_.push_back(std::move(backend));
}

/** Sees to it that a failure reaches a thread that waits for a device, and that the store's silence is noticed. */
void Monitor::watchLoop() {
  for (;;) {
    std::vector<c10::intrusive_ptr<c10d::Backend>> toAbort;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait_for(lock, Milliseconds(50), [this] { return ending_; });
      if (ending_) return;
      const Clock::time_point last{Clock::duration(lastBeatDone_.load())};
      if (!failure_.get() && !finished_ && now() - last > options_.heartbeatTimeout)
        reasonFound("ERR_DIST_PEER_LOST", "the store, in the process of rank 0, has not answered for " +
                                              std::to_string(options_.heartbeatTimeout.count()) + " ms");
      if (failure_.get()) toAbort.swap(aborted_);
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
