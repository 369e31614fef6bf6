// The wrapper through which Node.js calls an entry.
#pragma once
#include "binding/args.h"
#include "binding/environment.h"
#include "binding/errors.h"

#include <algorithm>
#include <type_traits>

namespace nbit {

template <size_t n>
struct EntryName {
  char text[n];
  constexpr EntryName(const char (&t)[n]) { std::copy_n(t, n, text); }
};

inline napi_value toJs(napi_env, napi_value value) { return value; }

/**
 * Enters the environment of the call, calls, and turns exceptions into JavaScript errors that carry `name`; where that
 * is empty, the function says whose they are. Instantiated where `fn` is defined, into which it is inlined.
 */
template <auto fn, EntryName name>
napi_value entry(napi_env env, napi_callback_info info) {
  using Fn = decltype(fn);
  if (!enter(env)) [[unlikely]]
    return throwClosed(env);
  const char* named = name.text[0] == '\0' ? nullptr : name.text;
  const auto call = [&] {
    if constexpr (std::is_invocable_v<Fn, const Args&>) return fn(Args(env, info));
    else if constexpr (std::is_invocable_v<Fn, const char*&>) return fn(named);
    else if constexpr (std::is_invocable_v<Fn, napi_env>) return fn(env);
    else return fn();
  };
  try {
    if constexpr (std::is_void_v<decltype(call())>) {
      call();
      return nullptr;
    } else {
      return toJs(env, call());
    }
  } catch (...) { return throwCurrent(env, named); }
}

}  // namespace nbit
