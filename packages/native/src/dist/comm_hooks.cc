#include "dist/comm_hooks.h"

#include "binding/errors.h"
#include "dist/collectives.h"
#include "dist/translate.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <thread>

namespace nbit::dist {
using FuturePtr = c10::intrusive_ptr<c10::ivalue::Future>;

FuturePtr guarded(const Group& group, const c10::intrusive_ptr<c10d::Work>& work, const Operation& operation) {
  auto inner = work->getFuture();
  const auto monitor = group.monitor;
  if (!monitor) return inner;
  auto outer = c10::make_intrusive<c10::ivalue::Future>(inner->elementType());
  const auto failed = [outer](const Failure& f) {
    outer->setErrorIfNeeded(std::make_exception_ptr(CodedError(f.code, f.message)));
  };
  // Backward does not end before its gradients are averaged, so this rank cannot do anything else either.
  const int64_t wait = monitor->enter(operation, group.timeout, true);
  const int64_t id = monitor->failure().onFailure(failed);
  inner->addCallback([outer, failed, id, wait, operation, monitor](c10::ivalue::Future& f) {
    monitor->failure().forget(id);
    monitor->leave(wait);
    if (f.hasError()) {
      // gloo knows only that a connection ended; the monitor finds out whose.
      const Failure own = translate(f.exception_ptr(), monitor->here() + ", in " + operation.what);
      std::thread([monitor, failed, own] { failed(monitor->reasonOr(own)); }).detach();
      return;
    }
    try {
      if (!outer->completed()) outer->markCompleted(f.value());
    } catch (const std::exception&) {  // a failure came between
    }
  });
  return outer;
}

namespace {

struct Hook : c10d::CommHookInterface {
  explicit Hook(std::shared_ptr<HookState> s) : state(std::move(s)) {}
  const std::shared_ptr<HookState> state;

  at::Tensor parseHookResult(const c10::IValue& result) override {
    return result.isTensor() ? result.toTensor() : result.toTensorVector()[0];
  }

  FuturePtr runHook(c10d::GradBucket& bucket) override {
    const at::NoGradGuard noGrad;
    state->reduced++;
    if (bucket.isLast()) {
      state->buckets = static_cast<int64_t>(bucket.getIndex()) + 1;
      state->backwards++;
    }
    if (state->kind == HookKind::kPowerSgd && state->backwards > state->startAt) return powerSgd(bucket);
    return average(bucket.getBufferRef());
  }

  FuturePtr reduce(at::Tensor t, bool avg) {
    const Group& group = *state->group;
    std::vector<at::Tensor> list{t};
    c10d::AllreduceOptions options;
    options.reduceOp = avg ? c10d::ReduceOp::AVG : c10d::ReduceOp::SUM;
    const Operation operation = group.begin(describe("all_reduce", t, "gradients"));
    auto work = group.backendFor(t)->allreduce(list, options);
    return t.is_cuda() ? work->getFuture() : guarded(group, work, operation);
  }

  FuturePtr average(const at::Tensor& bucket) {
    const auto type = bucket.scalar_type();
    const auto wire = wireDtype(state->kind, type);
    const double n = state->group->size;
    at::Tensor sent = bucket;
    double after = 1;
    if (wire == at::kHalf) {
      // A sum of N may be too large for float16, and a share of 1/N too small.
      after = std::sqrt(n);
      sent = type == at::kHalf ? sent.div_(after) : sent.div(after).to(wire);
    } else {
      if (wire != type) sent = sent.to(wire);
      if (!sent.is_cuda()) sent.div_(n);
    }
    auto future = reduce(sent, sent.is_cuda() && wire != at::kHalf);
    if (after == 1 && sent.is_same(bucket)) return future;
    const at::Tensor whole = bucket;
    return future->then(
        [whole, sent, after](c10::ivalue::Future& f) -> c10::IValue {
          const at::NoGradGuard noGrad;
          at::Tensor result = f.value().isTensor() ? f.value().toTensor() : f.value().toTensorVector()[0];
          if (result.is_same(whole) || result.data_ptr() == whole.data_ptr()) result.div_(after);
          else if (after != 1) whole.copy_(result.to(whole.scalar_type()).div_(after));
          else whole.copy_(result);
          return std::vector<at::Tensor>{whole};
        },
        c10::ListType::ofTensors());
  }

  /**
   * PowerSGD (Vogels et al., 2019): a gradient matrix M is sent as P Qᵀ with few columns; both factors are averaged in
   * turn, each rank orthogonalizing P in the same way. What the product misses is added to the next gradient, so that
   * nothing is lost, only late. Vectors, and matrices that factors would not make smaller, are averaged whole.
   */
  FuturePtr powerSgd(c10d::GradBucket& bucket) {
    const size_t index = bucket.getIndex();
    at::Tensor buffer = bucket.getBufferRef();
    auto error = state->errors.find(index);
    if (error == state->errors.end() || error->second.numel() != buffer.numel())
      error = state->errors.insert_or_assign(index, at::zeros_like(buffer)).first;
    buffer.add_(error->second);
    error->second.copy_(buffer);

    std::vector<at::Tensor> whole, matrices;
    for (const at::Tensor& gradient : bucket.getGradients()) {
      const int64_t rows = gradient.dim() > 1 ? gradient.size(0) : 0;
      const int64_t columns = rows > 0 ? gradient.numel() / rows : 0;
      if ((rows + columns) * state->rank < gradient.numel() && rows > 0)
        matrices.push_back(gradient.view({rows, columns}));
      else whole.push_back(gradient.view({-1}));
    }
    auto& factors = state->factors[index];
    if (factors.size() != matrices.size()) {
      factors.clear();
      auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(index) + 1);  // the same on all ranks
      for (const at::Tensor& m : matrices)
        factors.push_back(
            at::randn({m.size(1), state->rank}, generator, at::TensorOptions(at::kFloat)).to(m.options()));
    }
    const double n = state->group->size;
    const auto sync = [&](std::vector<at::Tensor>& list) {
      if (list.empty()) return;
      std::vector<at::Tensor> flat;
      for (const at::Tensor& t : list) flat.push_back(t.reshape({-1}));
      at::Tensor joined = at::cat(flat);
      auto future = reduce(joined, joined.is_cuda());
      future->waitAndThrow();
      if (!joined.is_cuda()) joined.div_(n);
      int64_t at = 0;
      for (at::Tensor& t : list) {
        t.copy_(joined.narrow(0, at, t.numel()).view(t.sizes()));
        at += t.numel();
      }
    };
    std::vector<at::Tensor> ps;
    for (size_t i = 0; i < matrices.size(); i++) ps.push_back(at::matmul(matrices[i], factors[i]));
    sync(whole);
    sync(ps);
    for (at::Tensor& p : ps) p = std::get<0>(at::linalg_qr(p.to(at::kFloat))).to(p.scalar_type());
    for (size_t i = 0; i < matrices.size(); i++) factors[i] = at::matmul(matrices[i].t(), ps[i]).contiguous();
    sync(factors);
    for (size_t i = 0; i < matrices.size(); i++) matrices[i].copy_(at::matmul(ps[i], factors[i].t()));
    error->second.sub_(buffer);
    // Averaged whole: nothing of them is owed.
    for (const at::Tensor& gradient : whole)
      error->second.narrow(0, gradient.storage_offset() - buffer.storage_offset(), gradient.numel()).zero_();
    auto done = c10::make_intrusive<c10::ivalue::Future>(
        c10::ListType::ofTensors(),
        buffer.is_cuda() ? std::vector<c10::Device>{buffer.device()} : std::vector<c10::Device>{});
    done->markCompleted(std::vector<at::Tensor>{buffer});
    return done;
  }
};

}  // namespace

HookKind hookKind(const std::string& name) {
  if (name == "average") return HookKind::kAverage;
  if (name == "float32") return HookKind::kFloat32;
  if (name == "float16") return HookKind::kFloat16;
  if (name == "bfloat16") return HookKind::kBFloat16;
  if (name == "powerSGD") return HookKind::kPowerSgd;
  fail("ERR_ARGUMENT",
       "expected a communication hook: average, float32, float16, bfloat16 or powerSGD. Received: \"" + name + "\"");
}

at::ScalarType wireDtype(HookKind kind, at::ScalarType type) {
  if (kind == HookKind::kFloat32 && (type == at::kHalf || type == at::kBFloat16)) return at::kFloat;
  if (kind == HookKind::kFloat16 && type != at::kDouble) return at::kHalf;
  if (kind == HookKind::kBFloat16 && type != at::kDouble) return at::kBFloat16;
  return type;
}

std::unique_ptr<c10d::CommHookInterface> makeHook(const std::shared_ptr<HookState>& state) {
  return std::make_unique<Hook>(state);
}

}  // namespace nbit::dist
