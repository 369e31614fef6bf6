// Watches over the other ranks from threads of its own, so that one that died, hangs or does something else becomes an
// error on this one, wherever it waits. c10d's own watchdogs end the process instead, and are switched off.
#pragma once
#include "dist/board.h"
#include "dist/failure.h"

#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace nbit::dist {

using Milliseconds = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

class Monitor {
 public:
  struct Options {
    int rank, size;
    /** No sign of life for so long: lost. */
    Milliseconds heartbeatTimeout;
    /** How long to wait for the others at the end. */
    Milliseconds timeout;
  };

  /** `store`: a connection of the monitor's own. `pulse`: a group on which nobody ever sends, so that a wait on it ends
   * when a connection does; null: none. Ranks meet here: returns when all have a heartbeat. */
  Monitor(c10::intrusive_ptr<c10d::Store> store, c10::intrusive_ptr<c10d::Backend> pulse, Options options);
  ~Monitor();

  FailureFlag& failure() { return failure_; }

  // What this rank does, for the others to see.
  void step(int64_t n);
  /** Begins to wait in `what`, for `timeout` at most; until `leave`. @returns which collective of this rank it is. */
  int64_t enter(const std::string& what, Milliseconds timeout);
  void leave();
  /** Something was given to a device that others take part in; nothing waits here. */
  void note(const std::string& what);
  /** This rank fails: the others are told `message`. */
  void failed(const std::string& message);
  /** This rank leaves in order: waits until all have. @throws where one failed. */
  void finish();
  /** A collective ended with an error: somebody's connection did. */
  void connectionBroke(const std::string& text);

  int64_t currentStep() const { return step_.load(); }
  /** What all ranks were seen doing last; a line each. */
  std::string table();

  /** Whose communicators a failure ends. */
  void abortOnFailure(c10::intrusive_ptr<c10d::Backend> backend);

 private:
  void beatLoop();
  void pulseLoop();
  void watchLoop();
  void publish();
  void readOthers();
  void judge();
  bool judgeLives();
  void judgeWait(const Entry& mine);
  void reasonFound(const char* code, const std::string& message);
  std::string key(int rank) const { return "beat/" + std::to_string(rank); }

  const c10::intrusive_ptr<c10d::Store> store_;
  const c10::intrusive_ptr<c10d::Backend> pulse_;
  const Options options_;
  FailureFlag failure_;

  std::mutex mutex_;
  std::condition_variable changed_;
  Entry mine_;
  Clock::time_point waitingSince_{};
  Milliseconds waitLimit_{0};
  bool ending_ = false, finished_ = false;

  struct Seen {
    Entry entry;
    Clock::time_point newBeat, sameActivity;
  };
  std::vector<Seen> others_;
  std::atomic<int64_t> step_{0};
  std::atomic<bool> pulseBroke_{false};
  Clock::time_point pulseBrokeAt_{};
  std::string pulseText_;
  std::atomic<Clock::rep> lastBeatDone_{0};
  std::vector<c10::intrusive_ptr<c10d::Backend>> aborted_;
  std::thread beat_, watch_;
};

}  // namespace nbit::dist
