// Work that may block for long (a rendezvous, a group's end) runs on a thread of its own; JavaScript is told when it is
// done.
#pragma once
#include "dist/failure.h"

#include <node_api.h>

#include <chrono>
#include <functional>
#include <memory>

namespace nbit::dist {

class Monitor;

/** What ends the wait for work that does not end. The work itself cannot be called off: its thread is left alone. */
struct Limits {
  /** Whoever fails meanwhile; may be null. */
  std::shared_ptr<Monitor> monitor;
  /** None where it is zero. */
  std::chrono::milliseconds deadline{0};
  /** Called at the deadline, for what to say. */
  std::function<Failure()> late;
};

/**
 * Runs `work` on a thread, then calls `done(code, message)` on JavaScript's: both null where `work` returned. `work`
 * may not touch JavaScript.
 */
void runInBackground(napi_env env, napi_value done, std::function<void()> work, Limits limits = {});

}  // namespace nbit::dist
