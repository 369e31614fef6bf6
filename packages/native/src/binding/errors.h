// Errors on their way to JavaScript.
#pragma once
#include <node_api.h>

#include <exception>
#include <stdexcept>
#include <string>

namespace nbit {

struct Environment;

// Thrown when a JavaScript exception is already pending: it keeps its identity while C++ unwinds. A std::exception,
// because autograd catches only those; anything else leaves its thread marked as busy, and after 60 of them backward
// moves to another thread for good.
struct JsPending : std::exception {
  const char* what() const noexcept override { return "a JavaScript exception is pending"; }
};

/** In messages of libtorch about memory of a sharded parameter that is freed. */
constexpr const char* kFreedParameter = "sharded parameters whose memory is freed";

/** An error of ours. `code`: a literal. */
struct CodedError : std::runtime_error {
  const char* code;
  CodedError(const char* c, const std::string& m) : std::runtime_error(m), code(c) {}
};

/** The one place where a C++ exception becomes a JavaScript error. Call inside a catch block. `name`: what failed; may
 * be null. */
napi_value throwCurrent(napi_env env, const char* name) noexcept;
napi_value throwClosed(napi_env env) noexcept;
[[noreturn]] void fail(const char* code, const std::string& message);
/** Warnings of this thread come to its environment. */
void installWarningHandler();
/** Release JavaScript references whose C++ owners died where none could be deleted; report warnings. Cheap when there
 * are none. */
void drain();
/** Delete a reference of an environment, from any thread: at its next drain. */
void deferDelete(Environment& of, napi_ref ref);

}  // namespace nbit
