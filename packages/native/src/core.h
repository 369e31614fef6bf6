// The ground of the addon: environments, slots of tensors, the shared buffer, errors, and how a function meets Node-API.
#pragma once
#include <exception>

#include "environment.h"
#include "message.h"
#include "slots.h"

#include <ATen/core/TensorBody.h>
#include <c10/core/Scalar.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <string>
#include <vector>

namespace nbit {

// ---------------------------------------------------------------- errors
// Thrown when a JavaScript exception is already pending: it keeps its identity while C++ unwinds. A std::exception, because the autograd engine catches
// only those; anything else leaves its thread marked as busy, and after 60 of them backward moves to another thread for good.
struct JsPending : std::exception {
  const char* what() const noexcept override { return "a JavaScript exception is pending"; }
};

/** The one place where a C++ exception becomes a JavaScript error. Call inside a catch block. */
napi_value throwCurrent(napi_env env, const char* op) noexcept;
[[noreturn]] void fail(const char* code, const std::string& message);
/** Warnings of this thread come to its environment. */
void installWarningHandler();
/** Release JavaScript references whose C++ owners died where none could be deleted; report warnings. Cheap when there are none. */
void drain();
/** Delete a reference of an environment, from any thread: at its next drain. */
void deferDelete(Environment& of, napi_ref ref);

// ---------------------------------------------------------------- Node-API
struct Args {
  napi_env env;
  size_t count;
  napi_value at[8];
  Args(napi_env e, napi_callback_info info) : env(e), count(8) {
    napi_get_cb_info(e, info, &count, at, nullptr, nullptr);
    for (size_t i = count; i < 8; i++) at[i] = nullptr;
  }
  napi_valuetype type(size_t i) const {
    napi_valuetype t = napi_undefined;
    if (i < count) napi_typeof(env, at[i], &t);
    return t;
  }
  [[noreturn]] void failAt(size_t i, const char* expected) const { fail("ERR_ARGUMENT", "native: expected argument " + std::to_string(i) + " to be " + expected); }
  double number(size_t i) const {
    double d = 0;
    if (i >= count || napi_get_value_double(env, at[i], &d) != napi_ok) failAt(i, "a number");
    return d;
  }
  int64_t integer(size_t i) const { return wholeNumber(number(i)); }
  at::ScalarType dtype(size_t i) const { return dtypeAt(number(i)); }
  c10::DeviceType deviceType(size_t i) const { return static_cast<c10::DeviceType>(codeBelow(number(i), static_cast<int>(c10::COMPILE_TIME_MAX_DEVICE_TYPES), "the code of a device type")); }
  c10::DeviceIndex deviceIndex(size_t i) const { return static_cast<c10::DeviceIndex>(codeBelow(number(i), 128, "the index of a device")); }
  bool flag(size_t i) const {
    bool b = false;
    if (i >= count || napi_get_value_bool(env, at[i], &b) != napi_ok) failAt(i, "a boolean");
    return b;
  }
  std::string text(size_t i) const {
    size_t n = 0;
    if (i >= count || napi_get_value_string_utf8(env, at[i], nullptr, 0, &n) != napi_ok) failAt(i, "a string");
    std::string s(n, '\0');
    napi_get_value_string_utf8(env, at[i], s.data(), n + 1, &n);
    return s;
  }
  /** A reference to the function at i, with one count. */
  napi_ref function(size_t i) const {
    napi_ref ref = nullptr;
    if (type(i) != napi_function || napi_create_reference(env, at[i], 1, &ref) != napi_ok) failAt(i, "a function");
    return ref;
  }
};

inline napi_value toJs(napi_env env, double d) { napi_value v; napi_create_double(env, d, &v); return v; }
inline napi_value toJs(napi_env env, bool b) { napi_value v; napi_get_boolean(env, b, &v); return v; }
inline napi_value toJs(napi_env env, const std::string& s) { napi_value v; napi_create_string_utf8(env, s.data(), s.size(), &v); return v; }

struct Entry {
  const char* name;
  napi_callback fn;
};

napi_value throwClosed(napi_env env) noexcept;

/** A function of the addon: it runs in the environment that it was loaded into. */
#define NBIT_FN(fn_name)                                                          \
  static napi_value fn_name##Here(napi_env env, napi_callback_info info);         \
  static napi_value fn_name(napi_env env, napi_callback_info info) {              \
    if (!::nbit::enter(env)) [[unlikely]] return ::nbit::throwClosed(env);        \
    return fn_name##Here(env, info);                                              \
  }                                                                               \
  static napi_value fn_name##Here([[maybe_unused]] napi_env env, [[maybe_unused]] napi_callback_info info)
#define NBIT_TRY try {
#define NBIT_CATCH(op)                 \
  }                                    \
  catch (...) {                        \
    return ::nbit::throwCurrent(env, op); \
  }

// One table per domain; addon.cc joins them.
std::vector<Entry> environmentEntries();
std::vector<Entry> handleEntries();
std::vector<Entry> dispatchEntries();
std::vector<Entry> dataEntries();
std::vector<Entry> autogradEntries();
std::vector<Entry> linearEntries();
std::vector<Entry> autocastEntries();
std::vector<Entry> autocastPolicyEntries();
std::vector<Entry> randomEntries();
std::vector<Entry> traceEntries();
std::vector<Entry> allocatorEntries();
std::vector<Entry> contextEntries();
/** Absent (null) in an addon built for a libtorch without CUDA. */
__attribute__((weak)) std::vector<Entry> cudaEntries();

/** Generators made by JavaScript, by id; 0 is "none". */
at::Generator& generatorAt(double id);
/** Strings that JavaScript interned, by id. */
const std::string& internedAt(double id);

}  // namespace nbit
