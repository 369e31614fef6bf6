// The arguments of an entry, and values for JavaScript.
#pragma once
#include "binding/errors.h"
#include "binding/message.h"

#include <node_api.h>

#include <string>

namespace nbit {

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
  [[noreturn]] void failAt(size_t i, const char* expected) const {
    fail("ERR_ARGUMENT", "native: expected argument " + std::to_string(i) + " to be " + expected);
  }
  double number(size_t i) const {
    double d = 0;
    if (i >= count || napi_get_value_double(env, at[i], &d) != napi_ok) failAt(i, "a number");
    return d;
  }
  int64_t integer(size_t i) const { return wholeNumber(number(i)); }
  at::ScalarType dtype(size_t i) const { return dtypeAt(number(i)); }
  c10::DeviceType deviceType(size_t i) const {
    return static_cast<c10::DeviceType>(
        codeBelow(number(i), static_cast<int>(c10::COMPILE_TIME_MAX_DEVICE_TYPES), "the code of a device type"));
  }
  c10::DeviceIndex deviceIndex(size_t i) const {
    return static_cast<c10::DeviceIndex>(codeBelow(number(i), 128, "the index of a device"));
  }
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

inline napi_value toJs(napi_env env, double d) {
  napi_value v;
  napi_create_double(env, d, &v);
  return v;
}
inline napi_value toJs(napi_env env, bool b) {
  napi_value v;
  napi_get_boolean(env, b, &v);
  return v;
}
inline napi_value toJs(napi_env env, const std::string& s) {
  napi_value v;
  napi_create_string_utf8(env, s.data(), s.size(), &v);
  return v;
}

}  // namespace nbit
