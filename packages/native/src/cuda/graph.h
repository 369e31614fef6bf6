#pragma once

namespace nbit {

/** CUDA graphs of all threads that are not freed: they may have recorded workspaces of libraries. */
int liveGraphs();

}  // namespace nbit
