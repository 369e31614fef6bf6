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

/**
 * All ranks of a group are about to do the same, or none does it: gloo ends the process where sizes differ. Does
 * nothing where the group does not verify, unless `always`. `more`: what must be equal too, and is too long to be told.
 * @throws ERR_DIST_MISMATCH on every rank.
 */
void agree(const Group& group, const Operation& operation, const std::string& more = "", bool always = false);

/** Such as "all_reduce(float32[4, 8], sum)". */
std::string describe(const char* name, at::TensorList tensors, const std::string& more = "");
c10d::ReduceOp reduceOp(const std::string& name);

}  // namespace nbit::dist
