#pragma once

namespace nbit {

/** Something was written in place: casts of it that a region has cached are of the old values. */
void forgetCasts();

}  // namespace nbit
