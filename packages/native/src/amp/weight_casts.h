// 16-bit casts of weights that are kept while the weights stay as they are.
#pragma once
#include "binding/core.h"

#include <memory>
#include <vector>

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

/** A cast that a graph reads where it lies. */
struct RecordedCast {
  at::Tensor weight;
  std::shared_ptr<void> kept;  // of weight_casts.cc
  bool frozen;
  bool stays;  // after a replay it is that of the weight again: nothing changes the weight, or its step casts it
};
/** Before a recording: casts in use are made anew where they are stale, so that the graph need not. Those that it then
 * uses go into `casts`. */
void beginRecordedCasts(std::vector<RecordedCast>& casts);
void endRecordedCasts(std::vector<RecordedCast>& casts);
/** Before a replay: cast anew what is stale, where the graph reads it. */
void refreshRecordedCasts(std::vector<RecordedCast>& casts);
/** After a replay, which may have changed any weight. */
void replayedRecordedCasts(std::vector<RecordedCast>& casts);

/** Where a step that writes a weight may write its cast too. */
struct SteppedCast {
  void* data = nullptr;  // dense, in the order of the weight; null where there is none
  at::ScalarType dtype = at::kBFloat16;
  std::shared_ptr<void> kept;
};
/** Of each weight the cast that is kept, if it is used, that of the weight now, and in nobody's hands. */
std::vector<SteppedCast> castsToStep(at::TensorList weights);
/** They were written: after this one step of an optimizer (`weightsChanged`) they are those of their weights. */
void castsWereStepped(const std::vector<SteppedCast>& casts);

}  // namespace nbit
