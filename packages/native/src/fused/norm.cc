// Residual addition and normalisation in one operator: its schema, and the plain form in ATen that runs on the CPU and
// says what the kernels (norm.cuda.cc) compute.
#include "binding/checks.h"
#include "binding/core.h"
#include "binding/library.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace nbit {
namespace {

using checks::given;
using checks::Maybe;
constexpr c10::DispatchKeySet kAutocast{c10::DispatchKey::AutocastCPU};

at::ScalarType computeType(const at::Tensor& t) { return t.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }
at::Tensor rowsOf(const at::Tensor& t, int64_t columns) { return t.reshape({t.numel() / columns, columns}); }

void checkRows(const at::Tensor& t, const char* what, int64_t columns) {
  checks::floating(t, what, true);
  TORCH_CHECK_VALUE(columns >= 1 && t.numel() % columns == 0, "expected columns to divide the ", t.numel(),
                    " elements of ", what, ". Received: ", columns);
}
void checkLike(const Maybe& t, const char* what, const at::Tensor& like, const char* name) {
  if (!given(t)) return;
  checks::strided(*t, what, like);
  checks::floating(*t, what, true);
  checks::shapeOf(*t, what, like, name);
}
void checkColumns(const Maybe& t, const char* what, const at::Tensor& like, int64_t columns) {
  if (!given(t)) return;
  checks::strided(*t, what, like);
  checks::floating(*t, what, true);
  checks::count(*t, what, columns);
}
void checkStatistic(const at::Tensor& t, const char* what, const at::Tensor& like, int64_t rows) {
  checks::strided(t, what, like);
  checks::floating(t, what, true);
  checks::vector(t, what, rows);
}
void checkDtype(at::ScalarType type, const char* what) {
  TORCH_CHECK_TYPE(at::isFloatingType(type), "expected ", what,
                   " to be floating point. Received: ", c10::getDtypeNames(type).first);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> forward(const at::Tensor& x, const Maybe& residual,
                                                                   const Maybe& weight, const Maybe& bias,
                                                                   int64_t columns, double eps, bool rms,
                                                                   at::ScalarType dtype) {
  const c10::impl::ExcludeDispatchKeyGuard plain(kAutocast);
  checkRows(x, "x", columns);
  checkLike(residual, "residual", x, "x");
  checkColumns(weight, "weight", x, columns);
  checkColumns(bias, "bias", x, columns);
  checkDtype(dtype, "dtype");
  const at::Tensor sum = given(residual) ? at::add(x, *residual) : x;
  const auto type = computeType(sum);
  const at::Tensor v = rowsOf(sum, columns).to(type);
  const at::Tensor m = rms ? at::zeros({v.size(0), 1}, v.options()) : v.mean({1}, true);
  const at::Tensor d = v - m;
  const at::Tensor r = at::rsqrt((d * d).mean({1}, true) + eps);
  at::Tensor y = d * r;
  if (given(weight)) y = y * weight->reshape({columns}).to(type);
  if (given(bias)) y = y + bias->reshape({columns}).to(type);
  return {given(residual) ? sum : at::Tensor(), y.to(dtype).reshape(x.sizes()), m.squeeze(1), r.squeeze(1)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& grad, const Maybe& gradSum,
                                                                    const at::Tensor& sum, const Maybe& weight,
                                                                    const at::Tensor& mean, const at::Tensor& rstd,
                                                                    int64_t columns, at::ScalarType xType,
                                                                    std::optional<at::ScalarType> residualType,
                                                                    bool rms, bool needWeight, bool needBias, bool) {
  const c10::impl::ExcludeDispatchKeyGuard plain(kAutocast);
  checkRows(sum, "sum", columns);
  const int64_t rows = sum.numel() / columns;
  checks::strided(grad, "grad", sum);
  checks::floating(grad, "grad", true);
  checks::count(grad, "grad", sum.numel());
  checkLike(gradSum, "grad_sum", sum, "sum");
  checkColumns(weight, "weight", sum, columns);
  checkStatistic(mean, "mean", sum, rows);
  checkStatistic(rstd, "rstd", sum, rows);
  checkDtype(xType, "x_dtype");
  if (residualType) checkDtype(*residualType, "residual_dtype");
  TORCH_CHECK_VALUE(given(weight) || !(needWeight || needBias),
                    "expected a weight where gradients of weight or bias are asked for. Received: none");
  const auto type = computeType(sum);
  const at::Tensor g = rowsOf(grad, columns).to(type), r = rstd.unsqueeze(1);
  const at::Tensor hat = (rowsOf(sum, columns).to(type) - mean.unsqueeze(1)) * r;
  const at::Tensor wg = given(weight) ? g * weight->reshape({columns}).to(type) : g;
  at::Tensor d = wg - hat * (wg * hat).mean({1}, true);
  if (!rms) d = d - wg.mean({1}, true);
  d = d * r;
  if (given(gradSum)) d = d + rowsOf(*gradSum, columns).to(type);
  d = d.reshape(sum.sizes());
  at::Tensor gr, gw, gb;
  if (residualType) gr = d.to(*residualType);
  if (needWeight) gw = (g * hat).sum(0).to(weight->scalar_type()).reshape(weight->sizes());
  if (needBias) gb = g.sum(0).to(weight->scalar_type()).reshape(weight->sizes());
  return {d.to(xType), gr, gw, gb};
}

NBIT_OPERATORS(m) {
  // Without a residual, sum is undefined: it is x. With a residual of x's dtype, its gradient is that of x: ask without
  // residual_dtype. keep_sums: on a GPU, keep what the columns of the residual's gradient sum to for the linear layer
  // whose bias wants it (takes_column_sums).
  m.def(
      "add_norm(Tensor x, Tensor? residual, Tensor? weight, Tensor? bias, int columns, float eps, bool rms, ScalarType "
      "dtype) -> (Tensor sum, Tensor out, Tensor mean, Tensor rstd)");
  m.def(
      "add_norm_backward(Tensor grad, Tensor? grad_sum, Tensor sum, Tensor? weight, Tensor mean, Tensor rstd, int "
      "columns, ScalarType x_dtype, ScalarType? residual_dtype, bool rms, bool need_weight, "
      "bool need_bias, bool keep_sums) -> (Tensor grad_x, Tensor grad_residual, Tensor grad_weight, Tensor grad_bias)");
}
NBIT_KERNELS(nbit, CPU, m) {
  m.impl("add_norm", forward);
  m.impl("add_norm_backward", backward);
}

}  // namespace
}  // namespace nbit
