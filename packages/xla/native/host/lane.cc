#include "lane.h"

#include <signal.h>

#include <thread>

namespace nbit::pjrt {
struct Lane::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue;
  bool began = false, ends = false, ended = false;
  std::thread::id thread;

  static void run(const std::shared_ptr<State>& state) {
    blockProfiling();
    for (;;) {
      std::function<void()> work;
      {
        std::unique_lock lock(state->mutex);
        state->changed.wait(lock, [&] { return state->ends || !state->queue.empty(); });
        if (state->ends) break;
        work = std::move(state->queue.front());
        state->queue.pop_front();
      }
      work();
    }
    const std::lock_guard lock(state->mutex);
    state->ended = true;
    state->changed.notify_all();
  }
};

void Lane::blockProfiling() {
  sigset_t profiling;
  sigemptyset(&profiling);
  sigaddset(&profiling, SIGPROF);
  pthread_sigmask(SIG_BLOCK, &profiling, nullptr);
}

Lane::Lane() : state_(std::make_shared<State>()) {}
Lane::~Lane() {
  std::deque<std::function<void()>> dropped;
  std::unique_lock lock(state_->mutex);
  state_->ends = true;
  dropped.swap(state_->queue);
  state_->changed.notify_all();
  if (state_->began && state_->thread != std::this_thread::get_id())
    state_->changed.wait(lock, [&] { return state_->ended; });
  lock.unlock();
}

void Lane::post(std::function<void()> work) {
  const std::lock_guard lock(state_->mutex);
  state_->queue.push_back(std::move(work));
  if (!state_->began) {
    std::thread thread(State::run, state_);
    state_->thread = thread.get_id();
    state_->began = true;
    thread.detach();
  }
  state_->changed.notify_all();
}

}  // namespace nbit::pjrt
