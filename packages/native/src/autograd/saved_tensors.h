#pragma once

namespace nbit {

/** From here on, libtorch asks this addon what is to become of tensors that it saves. Before any backward. */
void installEngine();

}  // namespace nbit
