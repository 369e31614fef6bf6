#include "dist/buckets.h"

#include "binding/errors.h"
#include "dist/collectives.h"
#include "dist/translate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cmath>

namespace nbit::dist {

GradientHooks::GradientHooks(const std::vector<at::Tensor>& params, const std::function<void(size_t)>& arrived) {
  for (size_t i = 0; i < params.size(); i++) {
    auto node = torch::autograd::impl::grad_accumulator(params[i]);
    TORCH_CHECK_VALUE(node != nullptr, "expected parameters that require gradients. Received: number ", i);
    const auto key = node->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
        [arrived, i](const torch::autograd::variable_list& outputs, const torch::autograd::variable_list&) {
          arrived(i);
          return outputs;
        }));
    hooks_.emplace_back(key, std::move(node));
  }
}
GradientHooks::~GradientHooks() {
  for (auto& [key, node] : hooks_) node->del_post_hook(key);
}

std::vector<size_t> orderOfRankZero(const Group& group, const std::vector<size_t>& mine) {
  if (group.fake) return mine;
  const at::Tensor order = at::empty({static_cast<int64_t>(mine.size())}, at::kLong);
  std::copy(mine.begin(), mine.end(), order.mutable_data_ptr<int64_t>());
  std::vector<at::Tensor> list{order};
  const auto operation = group.begin(describe("broadcast", order, "order of gradients"));
  agree(group, operation, "", true);
  waitFor(group, group.cpu->broadcast(list, {}), operation);
  const auto* first = order.const_data_ptr<int64_t>();
  return {first, first + order.numel()};
}

Buckets::Buckets(std::vector<at::Tensor> params, std::vector<std::string> names, std::shared_ptr<Group> group,
                 BucketOptions options, const std::vector<size_t>& given)
    : params_(std::move(params)),
      names_(std::move(names)),
      group_(std::move(group)),
      options_(options),
      place_(params_.size()),
      ready_(params_.size()),
      order_(given),
      ordered_(!given.empty()) {
  std::vector<size_t> order = given;
  // Until gradients have shown their order: the last made are the first to have one.
  if (!ordered_)
    for (size_t i = params_.size(); i > 0; i--) order.push_back(i - 1);
  layOut(order);
}

void Buckets::attach() {
  hooks_ = GradientHooks(params_, [weak = weak_from_this()](size_t i) {
    if (const auto self = weak.lock()) self->ready(i);
  });
}
void Buckets::detach() { hooks_ = GradientHooks(); }

/** Buckets of one dtype and device each, in the order of their first parameters. */
void Buckets::layOut(const std::vector<size_t>& order) {
  struct Open {
    size_t bucket, bytes;
  };
  std::map<std::pair<int, int>, Open> open;
  buckets_.clear();
  for (const size_t i : order) {
    const at::Tensor& p = params_[i];
    const auto key = std::make_pair(static_cast<int>(p.scalar_type()), static_cast<int>(p.device().index()));
    const size_t bytes = static_cast<size_t>(p.numel()) * p.element_size();
    auto at = open.find(key);
    if (at == open.end() || at->second.bytes >= (at->second.bucket == 0 ? options_.firstCap : options_.cap)) {
      buckets_.emplace_back();
      at = open.insert_or_assign(key, Open{buckets_.size() - 1, 0}).first;
    }
    at->second.bytes += bytes;
    Bucket& bucket = buckets_[at->second.bucket];
    place_[i] = {at->second.bucket, bucket.params.size()};
    bucket.params.push_back(i);
  }
  constexpr int64_t kAlign = 128;  // elements: what a kernel may read at once, and NCCL's own rounding
  for (Bucket& bucket : buckets_) {
    int64_t size = 0;
    for (const size_t i : bucket.params) size += (params_[i].numel() + kAlign - 1) / kAlign * kAlign;
    const at::Tensor& first = params_[bucket.params.front()];
    bucket.flat =
        at::empty({size}, first.options().dtype(wireDtype(options_.kind, first.scalar_type())).requires_grad(false))
            .zero_();
    int64_t offset = 0;
    for (const size_t i : bucket.params) {
      const at::Tensor& p = params_[i];
      const at::Tensor part = bucket.flat.narrow(0, offset, p.numel());
      // In the parameter's own layout, channels last for example: gradients have it too.
      bucket.views.push_back(p.is_non_overlapping_and_dense()
                                 ? part.as_strided(p.sizes(), p.strides(), part.storage_offset())
                                 : part.view(p.sizes()));
      offset += (p.numel() + kAlign - 1) / kAlign * kAlign;
    }
  }
}

void Buckets::expect() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (done_ && !ordered_ && !group_->fake) {
    ordered_ = true;
    order_ = orderOfRankZero(*group_, order_);
    layOut(order_);
  }
  if (!ordered_) order_.clear();
  for (Bucket& bucket : buckets_) {
    bucket.pending = bucket.params.size();
    bucket.work.reset();
    bucket.future.reset();
  }
  std::fill(ready_.begin(), ready_.end(), false);
  next_ = 0;
  queued_ = false;
  done_ = false;
  expecting_ = true;
}

void Buckets::ready(size_t param) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!expecting_) return;
  if (ready_[param])
    fail("ERR_DIST_READY_TWICE",
         "strategy: expected each parameter to get its gradient once in a backward. Received: two for " +
             names_[param] +
             ". Where that is meant, as in a checkpointed part that is used twice, promise "
             "staticGraph: true");
  ready_[param] = true;
  if (!ordered_) order_.push_back(param);
  if (!queued_) {
    queued_ = true;
    torch::autograd::Engine::get_default_engine().queue_callback([self = shared_from_this()] { self->finish(); });
  }
  buckets_[place_[param].first].pending--;
  while (next_ < buckets_.size() && buckets_[next_].pending == 0) launch(buckets_[next_++]);
}

void Buckets::launch(Bucket& bucket) {
  const at::NoGradGuard noGrad;
  std::vector<at::Tensor> to, from;
  for (size_t k = 0; k < bucket.params.size(); k++) {
    at::Tensor& gradient = params_[bucket.params[k]].mutable_grad();
    TORCH_CHECK(gradient.defined() && gradient.layout() == at::kStrided, "expected a dense gradient of ",
                names_[bucket.params[k]]);
    if (gradient.data_ptr() == bucket.views[k].data_ptr()) continue;
    to.push_back(bucket.views[k]);
    from.push_back(gradient);
    if (options_.views && gradient.scalar_type() == bucket.views[k].scalar_type()) gradient = bucket.views[k];
  }
  if (!to.empty()) at::_foreach_copy_(to, from, true);
  from.clear();
  if (group_->fake) return;
  const bool half = bucket.flat.scalar_type() == at::kHalf, device = bucket.flat.is_cuda();
  if (half) bucket.flat.div_(std::sqrt(static_cast<double>(group_->size)));
  else if (!device) bucket.flat.div_(group_->size);
  std::vector<at::Tensor> list{bucket.flat};
  c10d::AllreduceOptions options;
  options.reduceOp = device && !half ? c10d::ReduceOp::AVG : c10d::ReduceOp::SUM;
  const auto operation = group_->begin(describe("all_reduce", bucket.flat, "gradients"));
  bucket.work = group_->backendFor(bucket.flat)->allreduce(list, options);
  if (!device) bucket.future = guarded(*group_, bucket.work, operation);
}

/** At the end of a backward, on the thread that called it. */
void Buckets::finish() {
  const at::NoGradGuard noGrad;
  const std::lock_guard<std::mutex> lock(mutex_);
  expecting_ = false;
  if (next_ < buckets_.size()) return;  // `check` says whose gradients did not come
  for (Bucket& bucket : buckets_) {
    if (bucket.future) bucket.future->waitAndThrow();
    else if (bucket.work) bucket.work->wait();
    bucket.work.reset();
    bucket.future.reset();
    if (bucket.flat.scalar_type() == at::kHalf && !group_->fake)
      bucket.flat.div_(std::sqrt(static_cast<double>(group_->size)));
    std::vector<at::Tensor> to, from;
    for (size_t k = 0; k < bucket.params.size(); k++) {
      at::Tensor& gradient = params_[bucket.params[k]].mutable_grad();
      if (gradient.data_ptr() == bucket.views[k].data_ptr()) continue;
      to.push_back(gradient);
      from.push_back(bucket.views[k]);
    }
    if (!to.empty()) at::_foreach_copy_(to, from, true);
  }
  done_ = true;
}

std::vector<size_t> Buckets::order() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ordered_ || done_ ? order_ : std::vector<size_t>{};
}

void Buckets::check() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (done_) return;
  std::string missing;
  for (size_t i = 0; i < params_.size(); i++)
    if (!ready_[i]) missing += (missing.empty() ? "" : ", ") + names_[i];
  failUnused(missing);
}

void failUnused(const std::string& names) {
  fail("ERR_DIST_UNUSED_PARAMETERS",
       "strategy: expected a gradient for every parameter in every step, or findUnusedParameters: true. Received: a "
       "backward that did not reach " +
           names +
           ". The other processes wait for them. Use strategy: \"ddp_find_unused_parameters_true\", or set "
           "requiresGrad = false.");
}

}  // namespace nbit::dist
