// What becomes of a bucket of gradients between the ranks.
#pragma once
#include "dist/world.h"

#include <torch/csrc/distributed/c10d/comm.hpp>

#include <atomic>
#include <memory>
#include <string>

namespace nbit::dist {

enum class HookKind {
  kAverage,  // in the gradients' own dtype; float16 is divided by √N before and after
  kFloat32,  // 16-bit gradients are averaged in float32
  kFloat16,  // sent as float16
  kBFloat16,
  kPowerSgd,  // low-rank factors are sent, and what they miss is added to the next gradient
};
/** @throws ERR_ARGUMENT */
HookKind hookKind(const std::string& name);
/** In which gradients of a dtype travel. */
at::ScalarType wireDtype(HookKind kind, at::ScalarType type);

struct HookState {
  std::shared_ptr<Group> group;
  HookKind kind;
  /** Of PowerSGD: columns of the factors; backwards before it begins. */
  int64_t rank = 1, startAt = 10;
  /** Buckets of the latest backward. */
  std::atomic<int64_t> reduced{0};
  int64_t buckets = 0, backwards = 0;
  /** Of PowerSGD, by bucket: the error that was left, and the factor to begin with. */
  std::map<size_t, at::Tensor> errors;
  std::map<size_t, std::vector<at::Tensor>> factors;

  HookState(std::shared_ptr<Group> g, HookKind k, int64_t r, int64_t s)
      : group(std::move(g)), kind(k), rank(r), startAt(s) {}
};

/**
 * The end of a collective on the CPU, or a failure elsewhere, whichever comes first: autograd waits for futures where
 * nothing of ours can wake it.
 */
c10::intrusive_ptr<c10::ivalue::Future> guarded(const Group& group, const c10::intrusive_ptr<c10d::Work>& work,
                                                const Operation& operation);

std::unique_ptr<c10d::CommHookInterface> makeHook(const std::shared_ptr<HookState>& state);

}  // namespace nbit::dist
