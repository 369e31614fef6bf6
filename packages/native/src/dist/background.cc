#include "dist/background.h"

#include "binding/args.h"
#include "dist/translate.h"

#include <memory>
#include <thread>

namespace nbit::dist {

namespace {
void callBack(napi_env env, napi_value done, void*, void* data) {
  const std::unique_ptr<std::optional<Failure>> failure(static_cast<std::optional<Failure>*>(data));
  if (env == nullptr) return;  // it is closing
  napi_value undefined, argv[2];
  napi_get_undefined(env, &undefined);
  if (*failure) {
    argv[0] = toJs(env, std::string((*failure)->code));
    argv[1] = toJs(env, (*failure)->message);
  } else {
    napi_get_null(env, &argv[0]);
    napi_get_null(env, &argv[1]);
  }
  napi_value result;
  napi_call_function(env, undefined, done, 2, argv, &result);
}
}  // namespace

Completion::Completion(napi_env env, napi_value done) {
  napi_value name = toJs(env, std::string("nbit distributed"));
  if (napi_create_threadsafe_function(env, done, nullptr, name, 0, 1, nullptr, nullptr, nullptr, callBack, &call_) !=
      napi_ok)
    nbit::fail("ERR_ARGUMENT", "native: expected a function to call when it is done");
}

void Completion::succeed() {
  napi_call_threadsafe_function(call_, new std::optional<Failure>, napi_tsfn_blocking);
  napi_release_threadsafe_function(call_, napi_tsfn_release);
}
void Completion::fail(std::exception_ptr reason) {
  napi_call_threadsafe_function(call_, new std::optional<Failure>(translate(reason)), napi_tsfn_blocking);
  napi_release_threadsafe_function(call_, napi_tsfn_release);
}

void runInBackground(napi_env env, napi_value done, std::function<void()> work) {
  auto completion = std::make_shared<Completion>(env, done);
  std::thread([completion, work = std::move(work)] {
    try {
      work();
    } catch (...) {
      completion->fail(std::current_exception());
      return;
    }
    completion->succeed();
  }).detach();
}

}  // namespace nbit::dist
