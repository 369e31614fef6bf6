// C++ exceptions become JavaScript errors here and nowhere else; warnings of libtorch reach JavaScript here.
#include "binding/core.h"
#include "binding/hold.h"

#include <cstring>
#include <mutex>
#include <new>

namespace nbit {

namespace {

void raise(napi_env env, const char* code, const char* message, const char* op) noexcept {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) return;
  napi_value factory = nullptr, undefined, argv[3], error;
  if (js->errorFactory) napi_get_reference_value(env, js->errorFactory, &factory);
  napi_get_undefined(env, &undefined);
  if (factory && napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &argv[0]) == napi_ok &&
      napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &argv[1]) == napi_ok &&
      (op ? napi_create_string_utf8(env, op, NAPI_AUTO_LENGTH, &argv[2]) : napi_get_null(env, &argv[2])) == napi_ok) {
    const StayHere stay;
    if (napi_call_function(env, undefined, factory, 3, argv, &error) == napi_ok) {
      napi_throw(env, error);
      return;
    }
  }
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, code, message);
}

struct JsWarnings : c10::WarningHandler {
  void process(const c10::Warning& warning) override {
    Environment& e = *js;
    if (e.warningsMuted) return;
    std::lock_guard<std::mutex> lock(e.pendingMutex);
    if (e.pendingWarnings.size() < 64) e.pendingWarnings.push_back(warning.msg());
    e.drainNeeded = true;
  }
} jsWarnings;
}  // namespace

void installWarningHandler() { c10::WarningUtils::set_warning_handler(&jsWarnings); }

void fail(const char* code, const std::string& message) { throw CodedError(code, message); }
napi_value throwClosed(napi_env env) noexcept {
  napi_throw_error(env, "NBIT_CLOSED",
                   "@nbit/native: expected to be called while its thread runs. Received: a call after its end");
  return nullptr;
}

napi_value throwCurrent(napi_env env, const char* op) noexcept {
  try {
    throw;
  } catch (const JsPending&) {
  } catch (const CodedError& e) { raise(env, e.code, e.what(), op); } catch (const c10::OutOfMemoryError& e) {
    raise(env, "TORCH_OUT_OF_MEMORY", e.what_without_backtrace(), op);
  } catch (const c10::IndexError& e) {
    raise(env, "TORCH_INDEX", e.what_without_backtrace(), op);
  } catch (const c10::ValueError& e) {
    raise(env, "TORCH_VALUE", e.what_without_backtrace(), op);
  } catch (const c10::TypeError& e) {
    raise(env, "TORCH_TYPE", e.what_without_backtrace(), op);
  } catch (const c10::NotImplementedError& e) {
    raise(env, "TORCH_NOT_IMPLEMENTED", e.what_without_backtrace(), op);
  } catch (const c10::LinAlgError& e) {
    raise(env, "TORCH_LINALG", e.what_without_backtrace(), op);
  } catch (const c10::Error& e) {
    const char* message = e.what_without_backtrace();
    const bool oom = std::strstr(message, "can't allocate memory") || std::strstr(message, "out of memory");
    const bool freed = std::strstr(message, kFreedParameter) != nullptr;
    raise(env, oom ? "TORCH_OUT_OF_MEMORY" : freed ? "ERR_DIST_FREED_PARAMETER" : "TORCH", message, op);
  } catch (const std::bad_alloc&) {
    raise(env, "TORCH_OUT_OF_MEMORY", "the system is out of memory", op);
  } catch (const std::exception& e) { raise(env, "TORCH", e.what(), op); } catch (...) {
    raise(env, "TORCH", "unknown C++ exception", op);
  }
  return nullptr;
}

void deferDelete(Environment& of, napi_ref ref) {
  std::lock_guard<std::mutex> lock(of.pendingMutex);
  if (of.env == nullptr) return;  // closed: its references went with it
  of.pendingRefs.push_back(ref);
  of.drainNeeded = true;
}

void drain() {
  Environment& e = *js;
  std::vector<napi_ref> refs;
  std::vector<std::string> warnings;
  {
    std::lock_guard<std::mutex> lock(e.pendingMutex);
    refs.swap(e.pendingRefs);
    warnings.swap(e.pendingWarnings);
    e.drainNeeded = false;
  }
  for (napi_ref ref : refs) napi_delete_reference(e.env, ref);
  releaseHeld();
  if (!e.warningHandler) return;
  const StayHere stay;
  for (const auto& text : warnings) {
    napi_value handler, undefined, result, argument;
    if (napi_get_reference_value(e.env, e.warningHandler, &handler) != napi_ok ||
        napi_create_string_utf8(e.env, text.data(), text.size(), &argument) != napi_ok)
      return;
    napi_get_undefined(e.env, &undefined);
    if (napi_call_function(e.env, undefined, handler, 1, &argument, &result) != napi_ok) return;
  }
}

}  // namespace nbit
