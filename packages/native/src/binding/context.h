#pragma once

namespace nbit {

/**
 * Where NNPACK cannot run, every convolution that would ask for it says so on stderr, thousands of times an epoch. Asks
 * once, in silence, and switches it off: results stay the same.
 */
void quietNnpack();

}  // namespace nbit
