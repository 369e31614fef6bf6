#pragma once

namespace nbit {

/** On CUDA linear layers have a kernel of ours in every autocast region, for mixedLinear. Once in a process. */
void registerAutocastLinear();

}  // namespace nbit
