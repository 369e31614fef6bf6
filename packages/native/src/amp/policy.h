#pragma once
#include <cstdint>

namespace nbit {

/** Tells the active policies of this environment from any others; 0: none is. */
uint64_t activePolicies();

/** On CUDA linear layers have a kernel of ours in every autocast region, for mixedLinear. Once in a process. */
void registerAutocastLinear();

}  // namespace nbit
