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
