// Batch normalisation, addition and ReLU in one operator: its schema, and the plain form in ATen that runs on the CPU
// and says what the kernels (batch_norm.cuda.cc) compute.
#include "fused/batch_norm.h"
#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace nbit {
namespace {

using checks::given;
using checks::Maybe;
constexpr c10::DispatchKeySet kAutocast{c10::DispatchKey::AutocastCPU};

at::ScalarType computeType(const at::Tensor& t) { return t.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }
at::Tensor rowsOf(const at::Tensor& t) { return channelsLastView(t).reshape({-1, t.size(1)}); }
at::Tensor powers(const at::Tensor& like) {
  return at::arange(8, like.options().dtype(at::kLong)).exp2().to(at::kByte);
}
at::Tensor back(const at::Tensor& rows, const at::Tensor& like) {
  return at::empty_like(like).copy_(rows.reshape(channelsLastView(like).sizes()).movedim(-1, 1));
}
void check(const at::Tensor& x) {
  checks::floating(x, "x", true);
  NBIT_EXPECT(x.dim() >= 2 && x.size(1) >= 8 && x.size(1) % 8 == 0 && isChannelsLast(x), x,
              "x with channels last in memory and a multiple of 8 of them");
  NBIT_EXPECT(x.numel() > 0, x, "x with a value for each channel");
}
void checkLike(const Maybe& t, const char* what, const at::Tensor& x) {
  if (!given(t)) return;
  checks::strided(*t, what, x);
  checks::floating(*t, what, true);
  checks::shapeOf(*t, what, x, "x");
}
void checkChannels(const Maybe& t, const char* what, const at::Tensor& x) {
  if (!given(t)) return;
  checks::strided(*t, what, x);
  checks::floating(*t, what, true);
  checks::vector(*t, what, x.size(1));
}
/** A statistic that is written: of memory that nothing else is. */
void checkRunning(const Maybe& mean, const Maybe& variance, const at::Tensor& x) {
  TORCH_CHECK_VALUE(given(mean) == given(variance), "expected both running statistics or neither. Received: only the ",
                    given(mean) ? "mean" : "variance");
  if (!given(mean)) return;
  checkChannels(mean, "running_mean", x);
  checkChannels(variance, "running_var", x);
  checks::contiguous(*mean, "running_mean", x);
  checks::contiguous(*variance, "running_var", x);
  checks::apart({{&*mean, "running_mean"}, {&*variance, "running_var"}}, {{&x, "x"}});
  NBIT_EXPECT(x.numel() > x.size(1), x, "x with more than one value per channel where running statistics are kept");
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> forward(const at::Tensor& x, const Maybe& residual,
                                                                   const Maybe& weight, const Maybe& bias,
                                                                   const Maybe& runningMean, const Maybe& runningVar,
                                                                   double momentum, double eps, bool relu) {
  const c10::impl::ExcludeDispatchKeyGuard plain(kAutocast);
  check(x);
  checkLike(residual, "residual", x);
  checkChannels(weight, "weight", x);
  checkChannels(bias, "bias", x);
  checkRunning(runningMean, runningVar, x);
  const auto type = computeType(x);
  const at::Tensor v = rowsOf(x).to(type);
  const double rows = static_cast<double>(v.size(0));
  const at::Tensor mean = v.mean(0), d = v - mean, variance = (d * d).mean(0), rstd = at::rsqrt(variance + eps);
  at::Tensor y = d * (given(weight) ? weight->to(type) * rstd : rstd);
  if (given(bias)) y = y + bias->to(type);
  if (given(residual)) y = y + rowsOf(*residual).to(type);
  if (relu) y = at::relu(y);
  if (given(runningMean)) {
    runningMean->copy_(runningMean->to(type) * (1 - momentum) + mean * momentum);
    runningVar->copy_(runningVar->to(type) * (1 - momentum) + variance * (momentum * rows / (rows - 1)));
  }
  const at::Tensor out = back(y, x);
  at::Tensor mask;
  if (relu && given(residual))
    mask = (rowsOf(out).reshape({-1, 8}).le(0).logical_not().to(at::kByte) * powers(x)).sum(1).to(at::kByte);
  return {out, mean, rstd, mask};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& grad, const at::Tensor& x,
                                                                    const Maybe& mask, const Maybe& weight,
                                                                    const Maybe& bias, const at::Tensor& mean,
                                                                    const at::Tensor& rstd, const Maybe& gradMore,
                                                                    bool relu, bool needResidual, bool needWeight,
                                                                    bool needBias) {
  const c10::impl::ExcludeDispatchKeyGuard plain(kAutocast);
  check(x);
  checks::strided(grad, "grad", x);
  checkLike(grad, "grad", x);
  checkLike(gradMore, "grad_more", x);
  checkChannels(weight, "weight", x);
  checkChannels(bias, "bias", x);
  checks::strided(mean, "mean", x);
  checks::strided(rstd, "rstd", x);
  checkChannels(mean, "mean", x);
  checkChannels(rstd, "rstd", x);
  if (given(mask)) {
    checks::contiguous(*mask, "mask", x);
    checks::type(*mask, "mask", at::kByte);
    checks::vector(*mask, "mask", x.numel() / 8);
  }
  TORCH_CHECK_VALUE((given(weight) || !needWeight) && (given(bias) || !needBias),
                    "expected a weight and a bias where their gradients are asked for. Received: none");
  const auto type = computeType(x);
  const at::Tensor v = rowsOf(x).to(type), d = v - mean, hat = d * rstd,
                   scale = given(weight) ? weight->to(type) * rstd : rstd;
  // Of two branches: as autograd adds them, rounded to their dtype.
  at::Tensor g = rowsOf(given(gradMore) ? at::add(grad, *gradMore) : grad).to(type);
  if (relu) {
    at::Tensor passed;
    if (given(mask)) passed = mask->unsqueeze(1).bitwise_and(powers(x)).ne(0).reshape(g.sizes());
    else {
      at::Tensor y = d * scale;
      if (given(bias)) y = y + bias->to(type);
      passed = y.to(x.scalar_type()).le(0).logical_not();
    }
    g = at::where(passed, g, at::zeros_like(g));
  }
  const at::Tensor s = g.sum(0), q = (g * hat).sum(0);
  const double rows = static_cast<double>(v.size(0));
  at::Tensor gr, gw, gb;
  if (needResidual) gr = back(g, x);
  if (needWeight) gw = q.to(weight->scalar_type());
  if (needBias) gb = s.to(bias->scalar_type());
  return {back((g - s / rows - hat * (q / rows)) * scale, x), gr, gw, gb};
}

NBIT_OPERATORS(m) {
  // With ReLU and a residual, mask has a bit for every element that passed, 8 channels a byte; else it is undefined,
  // and backward asks x. grad_more: the gradient of a second branch, still to be added.
  m.def(
      "batch_norm_relu(Tensor x, Tensor? residual, Tensor? weight, Tensor? bias, Tensor(a!)? running_mean, Tensor(b!)? "
      "running_var, float momentum, float eps, bool relu) -> (Tensor out, Tensor mean, Tensor rstd, "
      "Tensor mask)");
  m.def(
      "batch_norm_relu_backward(Tensor grad, Tensor x, Tensor? mask, Tensor? weight, Tensor? bias, Tensor mean, Tensor "
      "rstd, Tensor? grad_more, bool relu, bool need_residual, bool need_weight, bool need_bias) -> (Tensor grad_x, "
      "Tensor grad_residual, Tensor grad_weight, Tensor grad_bias)");
}
NBIT_KERNELS(nbit, CPU, m) {
  m.impl("batch_norm_relu", forward);
  m.impl("batch_norm_relu_backward", backward);
}

}  // namespace
}  // namespace nbit
