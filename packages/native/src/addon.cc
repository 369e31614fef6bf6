// The addon's entry is a table: every domain lists its functions, and this file joins them.
#include "checks.h"
#include "core.h"
#include "weight_casts.h"

#include <mutex>

namespace nbit {
void quietNnpack();
}  // namespace nbit

NAPI_MODULE_INIT() {
  using namespace nbit;
  try {
    static std::once_flag once;
    std::call_once(once, [] {
      quietNnpack();
      refuseWhereThereIsNoKernel();
    });
    openEnvironment(env);
    for (const auto& table : {cudaEntries ? cudaEntries() : std::vector<Entry>{}, environmentEntries(), handleEntries(), dispatchEntries(), dataEntries(), autogradEntries(), linearEntries(), autocastEntries(), autocastPolicyEntries(), weightCastEntries(), randomEntries(), traceEntries(), allocatorEntries(), contextEntries()}) {
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
