// The addon's entry is a table: every domain lists its functions, and this file joins them.
#include "core.h"
#include "library.h"
#include "weight_casts.h"

#include <mutex>

namespace nbit {
void quietNnpack();
}  // namespace nbit

NAPI_MODULE_INIT() {
  using namespace nbit;
  try {
    registerLibrary();
    static std::once_flag once;
    std::call_once(once, quietNnpack);
    openEnvironment(env);
    for (const auto& table : {cudaEntries ? cudaEntries() : std::vector<Entry>{}, environmentEntries(), handleEntries(), dispatchEntries(), dataEntries(), autogradEntries(), linearEntries(), autocastEntries(), autocastPolicyEntries(), weightCastEntries(), randomEntries(), traceEntries(), allocatorEntries(), contextEntries()}) {
      for (const Entry& e : table) {
        napi_value fn;
        napi_create_function(env, e.name, NAPI_AUTO_LENGTH, e.fn, nullptr, &fn);
        napi_set_named_property(env, exports, e.name, fn);
      }
    }
  } catch (const SecondCopy& second) {
    // The loader knows what to do, once it knows where the first is.
    napi_value code, message, error;
    napi_create_string_utf8(env, "NBIT_SECOND_COPY", NAPI_AUTO_LENGTH, &code);
    napi_create_string_utf8(env, second.what(), NAPI_AUTO_LENGTH, &message);
    napi_create_error(env, code, message, &error);
    napi_set_named_property(env, error, "first", toJs(env, second.path));
    napi_throw(env, error);
    return nullptr;
  } catch (...) {
    return throwCurrent(env, "load");
  }
  return exports;
}
