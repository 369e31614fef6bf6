#include "dist/background.h"

#include "binding/args.h"
#include "dist/monitor.h"
#include "dist/translate.h"

#include <thread>

namespace nbit::dist {
namespace {

using Outcome = std::optional<Failure>;

void callBack(napi_env env, napi_value done, void*, void* data) {
  const std::unique_ptr<Outcome> failure(static_cast<Outcome*>(data));
  if (env == nullptr) return;  // it is closing
  napi_value undefined, argv[2];
  napi_get_undefined(env, &undefined);
  if (*failure) {
    argv[0] = toJs(env, std::string((*failure)->code));
    argv[1] = toJs(env, (*failure)->message);
  } else {
    napi_get_null(env, &argv[0]);
    napi_get_null(env, &argv[1]);
  }
  napi_value result;
  napi_call_function(env, undefined, done, 2, argv, &result);
}

/** Calls a JavaScript function once, from any thread: with nothing, or with an error's code and message. */
class Completion {
 public:
  Completion(napi_env env, napi_value done) {
    napi_value name = toJs(env, std::string("nbit distributed"));
    if (napi_create_threadsafe_function(env, done, nullptr, name, 0, 1, nullptr, nullptr, nullptr, callBack, &call_) !=
        napi_ok)
      nbit::fail("ERR_ARGUMENT", "native: expected a function to call when it is done");
  }

  /** The first outcome counts. */
  void settle(Outcome outcome) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (settled_) return;
      settled_ = true;
    }
    changed_.notify_all();
    auto data = std::make_unique<Outcome>(std::move(outcome));
    // Where the JavaScript thread has ended, the call itself gives the function up.
    const napi_status status = napi_call_threadsafe_function(call_, data.get(), napi_tsfn_blocking);
    if (status == napi_ok) (void)data.release();
    if (status != napi_closing) napi_release_threadsafe_function(call_, napi_tsfn_release);
  }
  /** @returns whether it was settled before `deadline` had passed. */
  bool settledWithin(std::chrono::milliseconds deadline) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, deadline, [this] { return settled_; });
  }

 private:
  napi_threadsafe_function call_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool settled_ = false;
};

}  // namespace

void runInBackground(napi_env env, napi_value done, std::function<void()> work, Limits limits) {
  auto completion = std::make_shared<Completion>(env, done);
  int64_t registered = 0;
  if (limits.monitor)
    registered = limits.monitor->failure().onFailure([completion](const Failure& f) { completion->settle(f); });
  if (limits.deadline.count() > 0)
    std::thread([completion, limits] {
      if (!completion->settledWithin(limits.deadline)) completion->settle(limits.late());
    }).detach();
  std::thread([completion, work = std::move(work), monitor = limits.monitor, registered] {
    Outcome outcome;
    try {
      work();
    } catch (...) { outcome = translate(std::current_exception()); }
    if (monitor) monitor->failure().forget(registered);
    completion->settle(std::move(outcome));
  }).detach();
}

}  // namespace nbit::dist
