// Work that may block for long (a rendezvous, a group's end) runs on a thread of its own; JavaScript is told when it is
// done.
#pragma once
#include <node_api.h>

#include <exception>
#include <functional>

namespace nbit::dist {

/**
 * Runs `work` on a thread, then calls `done(code, message)` on JavaScript's: both null where `work` returned. `work`
 * may not touch JavaScript.
 */
void runInBackground(napi_env env, napi_value done, std::function<void()> work);

/** Calls a JavaScript function once, from any thread: with nothing, or with an error's code and message. */
class Completion {
 public:
  Completion(napi_env env, napi_value done);
  void succeed();
  void fail(std::exception_ptr reason);

 private:
  napi_threadsafe_function call_ = nullptr;
};

}  // namespace nbit::dist
