// 16-bit casts of weights that are kept while the weights stay as they are.
#pragma once
#include "binding/core.h"

namespace nbit {

/** The cached cast of `t` for one use of it, with an autograd node of its own where a gradient is wanted; undefined
 * where nobody keeps one. */
at::Tensor cachedWeightCast(at::ScalarType target, const at::Tensor& t);

/** The cached cast of `t` itself, without a node; undefined where nobody keeps one. */
at::Tensor cachedWeightCastValue(at::ScalarType target, const at::Tensor& t);

/** Weights may have been written in a way that their version counters do not tell. */
void weightsMayHaveChanged();

/** A CUDA graph is being recorded: what it uses must stay where it is. */
extern std::atomic<bool> recordingGraph;

}  // namespace nbit
