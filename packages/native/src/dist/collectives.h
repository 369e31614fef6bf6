// What collectives say of themselves, and agree on before they begin.
#pragma once
#include "dist/world.h"

#include <string>

namespace nbit::dist {

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
