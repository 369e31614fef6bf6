// The addon's entry is a table: every domain lists its functions, and this file joins them.
#include "checks.h"
#include "core.h"
#include "weight_casts.h"

#include <atomic>

namespace nbit {
void reserveSlots();
void installWarningHandler();
void quietNnpack();
}  // namespace nbit

NAPI_MODULE_INIT() {
  using namespace nbit;
  static std::atomic<bool> loaded{false};
  if (!onJsThread() || loaded.exchange(true)) {
    napi_throw_error(env, "NBIT_ONE_THREAD", "@nbit/native: expected to be loaded once, on the main thread. Received: a second load or a worker thread. Use tensors on the main thread; libtorch itself computes on all cores.");
    return nullptr;
  }
  try {
    js.env = env;
    napi_add_env_cleanup_hook(env, [](void*) { js.closing = true; }, nullptr);
    reserveSlots();
    installWarningHandler();
    quietNnpack();
    refuseWhereThereIsNoKernel();
    for (const auto& table : {cudaEntries ? cudaEntries() : std::vector<Entry>{}, handleEntries(), dispatchEntries(), dataEntries(), autogradEntries(), linearEntries(), autocastEntries(), autocastPolicyEntries(), weightCastEntries(), randomEntries(), traceEntries(), allocatorEntries(), contextEntries()}) {
      for (const Entry& e : table) {
        napi_value fn;
        napi_create_function(env, e.name, NAPI_AUTO_LENGTH, e.fn, nullptr, &fn);
        napi_set_named_property(env, exports, e.name, fn);
      }
    }
  } catch (...) {
    return throwCurrent(env, "load");
  }
  return exports;
}
