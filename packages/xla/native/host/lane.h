// A thread of its own that does pieces of work in the order in which they came.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace nbit::pjrt {
class Lane {
 public:
  Lane();
  /**
   * Keeps signals of profiling timers from the thread that calls this and from those that it starts. libtpu sets such a
   * timer for each thread, and they may go off when Node.js, at its end, has given signals their default action back,
   * which for this one is to end the process with an error.
   */
  static void blockProfiling();
  /** What is queued is dropped; what runs is waited for, except by itself. */
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  /** The thread begins with the first piece. `work` must not throw. */
  void post(std::function<void()> work);

 private:
  struct State;
  std::shared_ptr<State> state_;
};
}  // namespace nbit::pjrt
