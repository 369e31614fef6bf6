// Waits that end when another rank fails.
#include "binding/errors.h"
#include "dist/translate.h"
#include "dist/world.h"

#include <ATen/ThreadLocalState.h>

#include <condition_variable>
#include <thread>

namespace nbit::dist {
namespace {

struct Signal {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::optional<Failure> failure;
  std::exception_ptr error;

  void finish(std::exception_ptr reason = nullptr) {
    const std::lock_guard<std::mutex> lock(mutex);
    error = reason;
    done = true;
    changed.notify_all();
  }
};

/** Finishes `signal` when the work is done, well or not. @returns whether the work may still be waited for. */
bool tell(const c10::intrusive_ptr<c10d::Work>& work, const std::shared_ptr<Signal>& signal) {
  try {
    work->getFuture()->addCallback([signal](c10::ivalue::Future&) { signal->finish(); });
    return true;
  } catch (const std::exception&) {  // that of a send or a receive has none, and may be waited for once
  }
  std::thread([work, signal] {
    std::exception_ptr error;
    try {
      work->wait();
    } catch (...) { error = std::current_exception(); }
    signal->finish(error);
  }).detach();
  return false;
}

/** gloo knows only that a connection ended. The monitor learns whose, a moment later. */
[[noreturn]] void throwWithCulprit(const Group& group, std::exception_ptr reason, const std::string& what) {
  const Failure own = translate(reason, group.monitor->here() + ", in " + what);
  throwFailure(group.monitor->reasonOr(own));
}

class Waiting {
 public:
  Waiting(Monitor& monitor, const Operation& operation, Milliseconds limit, bool blocks)
      : monitor_(monitor), id_(monitor.enter(operation, limit, blocks)) {}
  ~Waiting() { monitor_.leave(id_); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  Monitor& monitor_;
  const int64_t id_;
};

}  // namespace

namespace {
/** @returns the failure that came before the end. */
std::optional<Failure> endOrFailure(Monitor& monitor, const std::shared_ptr<Signal>& signal) {
  const int64_t id = monitor.failure().onFailure([signal](const Failure& f) {
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
  monitor.failure().forget(id);
  return failure;
}
}  // namespace

void runWatched(const Group& group, const Operation& operation, std::function<void()> work) {
  const Waiting waiting(*group.monitor, operation, group.timeout, true);
  const auto signal = std::make_shared<Signal>();
  std::thread([signal, work = at::wrapPropagateTLSState(std::move(work))] {
    std::exception_ptr error;
    try {
      work();
    } catch (...) { error = std::current_exception(); }
    signal->finish(error);
  }).detach();
  if (const auto failure = endOrFailure(*group.monitor, signal)) throwFailure(*failure);
  if (signal->error) throwWithCulprit(group, signal->error, operation.what);
}

void waitFor(const Group& group, const c10::intrusive_ptr<c10d::Work>& work, const Operation& operation, bool blocks) {
  Monitor& monitor = *group.monitor;
  if (!work->isCompleted()) {
    const Waiting waiting(monitor, operation, group.timeout, blocks);
    const auto signal = std::make_shared<Signal>();
    const bool waitable = tell(work, signal);
    if (const auto failure = endOrFailure(monitor, signal)) {
      // Of gloo's, only sends and receives can be called off; the others end with their connections.
      if (!waitable) work->abort();
      throwFailure(*failure);
    }
    if (!waitable) {
      if (signal->error) throwWithCulprit(group, signal->error, operation.what);
      return;
    }
  }
  try {
    work->wait();
  } catch (...) { throwWithCulprit(group, std::current_exception(), operation.what); }
}

}  // namespace nbit::dist
