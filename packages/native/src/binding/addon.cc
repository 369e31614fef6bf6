// The addon's entry is a table (manifest/entries.json). Every function of it is called through one wrapper (entry.h).
#define NBIT_ENTRIES_ELSEWHERE
#include "amp/policy.h"
#include "binding/context.h"
#include "autograd/saved_tensors.h"
#include "binding/core.h"
#include "binding/entry.h"
#include "binding/library.h"
#include "entries/all.h"

#include <mutex>

namespace nbit {
namespace {

constexpr struct {
  const char* name;
  napi_callback fn;
} kEntries[] = {
#define NBIT_ENTRY(name, error) {#name, entry<entries::name, error>},
#include "entries.inc"
#undef NBIT_ENTRY
};

/** The loader knows what to do, once it knows where the first is. */
void throwSecondCopy(napi_env env, const SecondCopy& second) {
  napi_value code, message, error;
  napi_create_string_utf8(env, "NBIT_SECOND_COPY", NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, second.what(), NAPI_AUTO_LENGTH, &message);
  napi_create_error(env, code, message, &error);
  napi_set_named_property(env, error, "first", toJs(env, second.path));
  napi_throw(env, error);
}

}  // namespace
}  // namespace nbit

NAPI_MODULE_INIT() {
  using namespace nbit;
  try {
    registerLibrary();
    static std::once_flag once;
    std::call_once(once, quietNnpack);
    openEnvironment(env);
    installEngine();
#if defined(NBIT_CUDA)
    registerAutocastLinear();
#endif
    for (const auto& [name, callback] : kEntries) {
      napi_value fn;
      napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &fn);
      napi_set_named_property(env, exports, name, fn);
    }
  } catch (const SecondCopy& second) {
    throwSecondCopy(env, second);
    return nullptr;
  } catch (...) { return throwCurrent(env, "load"); }
  return exports;
}
