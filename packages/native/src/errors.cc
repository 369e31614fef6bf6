// C++ exceptions become JavaScript errors here and nowhere else; warnings of libtorch reach JavaScript here.
#include "core.h"

#include <cstring>
#include <mutex>
#include <new>
#include <thread>

namespace nbit {

Environment js;
bool drainNeeded = false;
bool warningsMuted = false;

namespace {
const std::thread::id jsThread = std::this_thread::get_id();

struct CodedError : std::runtime_error {
  const char* code;
  CodedError(const char* c, const std::string& m) : std::runtime_error(m), code(c) {}
};

std::mutex pendingMutex;
std::vector<napi_ref> pendingRefs;
std::vector<std::string> pendingWarnings;

void raise(napi_env env, const char* code, const char* message, const char* op) noexcept {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) return;
  napi_value factory = nullptr, undefined, argv[3], error;
  if (js.errorFactory) napi_get_reference_value(env, js.errorFactory, &factory);
  napi_get_undefined(env, &undefined);
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &argv[0]);
  napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &argv[1]);
  if (op) napi_create_string_utf8(env, op, NAPI_AUTO_LENGTH, &argv[2]); else napi_get_null(env, &argv[2]);
  if (factory && napi_call_function(env, undefined, factory, 3, argv, &error) == napi_ok) {
    napi_throw(env, error);
    return;
  }
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, code, message);
}

struct JsWarnings : c10::WarningHandler {
  void process(const c10::Warning& warning) override {
    if (warningsMuted) return;
    std::lock_guard<std::mutex> lock(pendingMutex);
    if (pendingWarnings.size() < 64) pendingWarnings.push_back(warning.msg());
    drainNeeded = true;
  }
} jsWarnings;
}  // namespace

bool onJsThread() { return std::this_thread::get_id() == jsThread; }

void installWarningHandler() { c10::WarningUtils::set_warning_handler(&jsWarnings); }

void fail(const char* code, const std::string& message) { throw CodedError(code, message); }
void failTableFull() { fail("TENSOR_TABLE_FULL", "more than 16,777,215 tensors are alive at once: dispose of tensors, or make them inside scope(() => …)"); }
void failBadHandle(double handle) {
  if (handle == 0) fail("TENSOR_DISPOSED", "a tensor is needed here. Received: a disposed tensor or none. Keep it with keep(t), or return it from its scope");
  fail("TENSOR_DISPOSED", "the tensor has been disposed. Keep it with keep(t), or return it from its scope");
}

napi_value throwCurrent(napi_env env, const char* op) noexcept {
  try {
    throw;
  } catch (const JsPending&) {
  } catch (const CodedError& e) {
    raise(env, e.code, e.what(), op);
  } catch (const c10::OutOfMemoryError& e) {
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
    raise(env, oom ? "TORCH_OUT_OF_MEMORY" : "TORCH", message, op);
  } catch (const std::bad_alloc&) {
    raise(env, "TORCH_OUT_OF_MEMORY", "the system is out of memory", op);
  } catch (const std::exception& e) {
    raise(env, "TORCH", e.what(), op);
  } catch (...) {
    raise(env, "TORCH", "unknown C++ exception", op);
  }
  return nullptr;
}

void deferDelete(napi_ref ref) {
  std::lock_guard<std::mutex> lock(pendingMutex);
  pendingRefs.push_back(ref);
  drainNeeded = true;
}

void drain() {
  std::vector<napi_ref> refs;
  std::vector<std::string> warnings;
  {
    std::lock_guard<std::mutex> lock(pendingMutex);
    refs.swap(pendingRefs);
    warnings.swap(pendingWarnings);
    drainNeeded = false;
  }
  for (napi_ref ref : refs) napi_delete_reference(js.env, ref);
  if (!js.warningHandler) return;
  for (const auto& text : warnings) {
    napi_value handler, undefined, result, argument = toJs(js.env, text);
    napi_get_reference_value(js.env, js.warningHandler, &handler);
    napi_get_undefined(js.env, &undefined);
    if (napi_call_function(js.env, undefined, handler, 1, &argument, &result) != napi_ok) return;
  }
}

}  // namespace nbit
