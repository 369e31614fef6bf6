// Gradients averaged over the ranks in buckets while backward runs, with one copy for each bucket instead of one for
// each parameter, in the dtype in which they travel.
#pragma once
#include "dist/comm_hooks.h"

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/variable.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace nbit::dist {

/** @throws ERR_DIST_UNUSED_PARAMETERS. `names`: of parameters that a backward did not reach. */
[[noreturn]] void failUnused(const std::string& names);

/** Tells of every gradient that a leaf gets, on autograd's threads. */
class GradientHooks {
 public:
  GradientHooks() = default;
  GradientHooks(const std::vector<at::Tensor>& params, const std::function<void(size_t)>& arrived);
  GradientHooks(GradientHooks&&) = default;
  GradientHooks& operator=(GradientHooks&& other) {
    std::swap(hooks_, other.hooks_);
    return *this;
  }
  ~GradientHooks();

 private:
  // std::shared_ptr in libtorch 2.11, c10::intrusive_ptr since 2.12.
  using NodePtr = decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>()));
  std::vector<std::pair<uintptr_t, NodePtr>> hooks_;
};

/** An order of parameters, rank 0's. Every rank calls it. */
std::vector<size_t> orderOfRankZero(const Group& group, const std::vector<size_t>& mine);

struct BucketOptions {
  HookKind kind;
  size_t cap, firstCap;
  /** Gradients are views of the buckets; otherwise averages are copied back to where gradients were. */
  bool views;
};

/**
 * What c10d's Reducer does for a backward that reaches every parameter once. Where some are not reached, or a static
 * graph is promised, that Reducer does it.
 *
 * Hooks run on autograd's threads, everything else on JavaScript's.
 */
class Buckets : public std::enable_shared_from_this<Buckets> {
 public:
  /** `order`: of parameters in buckets, the same on all ranks; empty: to be found by the first backward. */
  Buckets(std::vector<at::Tensor> params, std::vector<std::string> names, std::shared_ptr<Group> group,
          BucketOptions options, const std::vector<size_t>& order);
  void attach();
  void detach();

  /** The backward that comes next is to average. Buckets are laid out anew, once, as gradients came in the first. */
  void expect();
  /** After it. @throws ERR_DIST_UNUSED_PARAMETERS with the names of those that it did not reach. */
  void check();
  int64_t count() const { return static_cast<int64_t>(buckets_.size()); }
  /** In which parameters are in buckets, from the next backward on; empty before the first. Rank 0's is that of all. */
  std::vector<size_t> order();

 private:
  struct Bucket {
    std::vector<size_t> params;
    at::Tensor flat;
    std::vector<at::Tensor> views;
    size_t pending = 0;
    c10::intrusive_ptr<c10d::Work> work;
    c10::intrusive_ptr<c10::ivalue::Future> future;
  };

  void layOut(const std::vector<size_t>& order);
  void ready(size_t param);
  void launch(Bucket& bucket);
  void finish();

  const std::vector<at::Tensor> params_;
  const std::vector<std::string> names_;
  const std::shared_ptr<Group> group_;
  const BucketOptions options_;

  std::mutex mutex_;
  std::vector<Bucket> buckets_;
  std::vector<std::pair<size_t, size_t>> place_;  // of a parameter: its bucket, and where in it
  std::vector<bool> ready_;
  std::vector<size_t> order_;  // in which gradients came, or what was made of it
  size_t next_ = 0;            // the bucket that is to leave next: on every rank in the same order
  bool expecting_ = false, queued_ = false, ordered_ = false, done_ = false;
  GradientHooks hooks_;
};

}  // namespace nbit::dist
