// Waits that end when another rank fails.
#include "binding/errors.h"
#include "dist/translate.h"
#include "dist/world.h"

#include <condition_variable>

namespace nbit::dist {
namespace {

struct Signal {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::optional<Failure> failure;
  /** Of work that was waited for elsewhere, and may be waited for once. */
  bool waited = false;
  std::exception_ptr error;

  void finish() {
    const std::lock_guard<std::mutex> lock(mutex);
    done = true;
    changed.notify_all();
  }
};

/** Finishes `signal` when the work is done, well or not. */
void tell(const c10::intrusive_ptr<c10d::Work>& work, const std::shared_ptr<Signal>& signal) {
  try {
    work->getFuture()->addCallback([signal](c10::ivalue::Future&) { signal->finish(); });
    return;
  } catch (const std::exception&) {  // that of a send or a receive has none
  }
  signal->waited = true;
  std::thread([work, signal] {
    try {
      work->wait();
    } catch (...) { signal->error = std::current_exception(); }
    signal->finish();
  }).detach();
}

/** gloo knows only that a connection ended. The monitor learns whose, a moment later. */
[[noreturn]] void throwWithCulprit(const Group& group, std::exception_ptr reason, const std::string& what) {
  const Failure own = translate(reason, "rank " + std::to_string(group.world->rank) + ", in " + what);
  if (FailureFlag* flag = group.failure()) {
    group.world->monitor->connectionBroke(own.message);
    for (int i = 0; i < 100 && !flag->get(); i++) std::this_thread::sleep_for(Milliseconds(20));
    flag->set(own);
    throwIfFailed(*flag);
  }
  throwFailure(own);
}

}  // namespace

void waitFor(const Group& group, const c10::intrusive_ptr<c10d::Work>& work, const std::string& what) {
  if (Monitor* monitor = group.world->monitor.get(); monitor && !work->isCompleted()) {
    monitor->enter(what, group.timeout);
    const auto signal = std::make_shared<Signal>();
    tell(work, signal);
    const int64_t id = monitor->failure().onFailure([signal](const Failure& f) {
      const std::lock_guard<std::mutex> lock(signal->mutex);
      signal->failure = f;
      signal->changed.notify_all();
    });
    std::optional<Failure> failure;
    {
      std::unique_lock<std::mutex> lock(signal->mutex);
      signal->changed.wait(lock, [&] { return signal->done || signal->failure; });
      if (!signal->done) failure = signal->failure;
    }
    monitor->failure().forget(id);
    monitor->leave();
    if (failure) throwFailure(*failure);
    if (signal->waited) {
      if (signal->error) throwWithCulprit(group, signal->error, what);
      return;
    }
  } else if (monitor) {
    monitor->note(what);
  }
  try {
    work->wait();
  } catch (...) { throwWithCulprit(group, std::current_exception(), what); }
}

}  // namespace nbit::dist
