// Watches over the other ranks from threads of its own, so that one that died, hangs or does something else becomes an
// error on this one, wherever it waits. c10d's own watchdogs end the process instead, and are switched off.
//
// Three threads: one exchanges heartbeats with the store (a call to a store that hangs cannot be called off, so nobody
// ever waits for this thread); one hears from the other ranks' connections; one judges what both have learned.
#pragma once
#include "dist/board.h"
#include "dist/failure.h"
#include "dist/pulse.h"

#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace nbit::dist {

using Milliseconds = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

class Monitor : public std::enable_shared_from_this<Monitor> {
 public:
  struct Options {
    int rank, size;
    /** No sign of life for so long: lost. */
    Milliseconds heartbeatTimeout;
    /** How long to wait for the others at the end. */
    Milliseconds timeout;
    /** Whose the store is, in words. */
    std::string storeOwner;
  };

  /** `store`: a connection of the monitor's own. `pulse`: null in a world of one. */
  Monitor(c10::intrusive_ptr<c10d::Store> store, std::unique_ptr<Pulse> pulse, Options options);
  /** Ranks meet here: returns when all have a heartbeat. @throws where they have not by `until`, or one failed. */
  void start(Clock::time_point until);
  /** Ends its threads, and whoever still waits. Returns within a second, whatever hangs. */
  void close();

  FailureFlag& failure() { return failure_; }
  int rank() const { return options_.rank; }

  // What this rank does, for the others to see.
  void step(int64_t n);
  /** A collective begins; not waited for yet. */
  Operation begin(const std::string& what, const std::string& group, const std::vector<int64_t>& members, bool pair);
  /** Begins to wait, for `limit` at most. `blocks`: this rank does nothing else. @returns what `leave` takes. */
  int64_t enter(const Operation& operation, Milliseconds limit, bool blocks);
  void leave(int64_t wait);
  /** This rank fails: the others are told `message`. */
  void failed(const std::string& message);
  /** This rank leaves in order: waits until all have. @throws where one failed. */
  void finish();
  /** Of a collective that ended with an error: what is known of it within 2 s, else `own`. */
  Failure reasonOr(const Failure& own);

  /** What all ranks were seen doing last; a line each. */
  std::string table();
  /** Such as "rank 1 at step 3". */
  std::string here();

  /** Whose communicators a failure ends. */
  void abortOnFailure(c10::intrusive_ptr<c10d::Backend> backend);

 private:
  using Verdict = std::optional<Failure>;
  struct Wait {
    Operation operation;
    Clock::time_point since;
    Milliseconds limit;
    bool blocks;
  };
  /** Another rank, as it was seen last. */
  struct Seen {
    Entry entry;
    Clock::time_point newBeat, newActivity;
    bool finished = false;
    /** What its connection said, or how it ended. */
    std::optional<Failure> lastWord;
    Clock::time_point lastWordAt;
    /** It only follows another's failure. */
    bool follows = false;
  };

  template <class F>
  void startThread(F body);
  void beatLoop();
  void judgeLoop();
  void heard(int rank, Pulse::Said said, const std::string& text);
  void publish();
  void readOthers();
  bool everyoneFinished() const;
  // With mutex_.
  Entry mine() const;
  const Wait* blocking() const;
  std::string where() const;
  Failure verdict(const char* code, const std::string& message) const;
  std::string others() const;
  Verdict judge(Clock::time_point now) const;
  Verdict judgeStore(Clock::time_point now) const;
  Verdict judgeWords(Clock::time_point now) const;
  Verdict judgeLives(Clock::time_point now) const;
  Verdict judgeWaits(Clock::time_point now) const;
  Verdict judgeDevice(Clock::time_point now) const;

  const c10::intrusive_ptr<c10d::Store> store_;
  const std::unique_ptr<Pulse> pulse_;
  const Options options_;
  const Milliseconds beat_;
  FailureFlag failure_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int threads_ = 0;
  bool ending_ = false, finished_ = false;
  int64_t beats_ = 0, step_ = 0, collectives_ = 0;
  std::map<std::string, int64_t> begun_;
  Operation latest_;
  Clock::time_point latestAt_;
  std::map<int64_t, Wait> waits_;
  int64_t nextWait_ = 1;
  std::string ownFailure_;
  std::vector<Seen> seen_;
  Clock::time_point lastExchange_;
  std::optional<std::string> storeError_;
  Clock::time_point storeErrorAt_;
  std::vector<c10::intrusive_ptr<c10d::Backend>> aborted_;
};

}  // namespace nbit::dist
