// Collectives on their way: begun, and not waited for.
#pragma once
#include "dist/world.h"

#include <functional>

namespace nbit::dist {

struct Pending {
  c10::intrusive_ptr<c10d::Work> work;
  std::shared_ptr<Group> group;
  std::string what;
  bool onDevice = false;
  /** Runs once, on the thread that waits, when the work is done. */
  std::function<void()> then;
};

/** @returns an id for `distWait`. */
int64_t keepPending(Pending pending);
Pending takePending(int64_t id);
void finish(Pending& pending);

/** Such as "all_reduce(float32[4, 8], sum)". */
std::string describe(const char* name, at::TensorList tensors, const std::string& more = "");
c10d::ReduceOp reduceOp(const std::string& name);

}  // namespace nbit::dist
