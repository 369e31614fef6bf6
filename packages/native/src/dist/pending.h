// Collectives on their way: begun, and not waited for.
#pragma once
#include "dist/world.h"

#include <functional>

namespace nbit::dist {

struct Pending {
  c10::intrusive_ptr<c10d::Work> work;
  std::shared_ptr<Group> group;
  Operation operation;
  bool onDevice = false;
  /** Runs once, on the thread that waits, when the work is done. */
  std::function<void()> then;
};

/** @returns an id for `distWait`. */
int64_t keepPending(Pending pending);
Pending takePending(int64_t id);
/** `blocks`: on JavaScript's thread. */
void finish(Pending& pending, bool blocks);

}  // namespace nbit::dist
