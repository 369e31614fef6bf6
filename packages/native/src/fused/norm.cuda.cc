// Residual addition and normalisation on the GPU: 16-bit and float32 inputs are read once, computed in float32, written
// once in the dtype that the next operator wants.
#include "binding/checks.h"
#include "binding/core.h"
#include "cuda/kernel_options.h"
#include "binding/library.h"
#include "cuda/nvrtc.h"
#include "fused/column_sums.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>

namespace nbit {
namespace {

using checks::given;
using checks::Maybe;
constexpr int64_t kMostColumns = 16384;

struct Shape {
  int64_t columns, vector, threads, groups;
};
bool aligned(const at::Tensor& t) { return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0; }
Shape shapeOf(int64_t columns, bool isAligned) {
  Shape s{columns, columns % 8 == 0 && isAligned ? 8 : 1, 32, 8};
  if (columns > 1024) {
    s.threads = std::min<int64_t>(1024, (columns / 16 + 31) / 32 * 32);
    s.groups = 1;
  }
  return s;
}
std::vector<std::string> options(const Shape& s, at::ScalarType x, at::ScalarType r, at::ScalarType sum,
                                 at::ScalarType out, at::ScalarType w, bool hasR, bool hasW, bool hasB, bool hasGs,
                                 bool rms, bool hasRs = false) {
  return {define("COLUMNS", s.columns),  define("VEC", s.vector),
          define("THREADS", s.threads),  define("GROUPS", s.groups),
          define("TX", kernelType(x)),   define("TR", kernelType(r)),
          define("TS", kernelType(sum)), define("TO", kernelType(out)),
          define("TW", kernelType(w)),   define("HAS_R", hasR),
          define("HAS_W", hasW),         define("HAS_B", hasB),
          define("HAS_GS", hasGs),       define("RMS", rms),
          define("HAS_RS", hasRs)};
}
void check(const at::Tensor& t, const char* what, int64_t numel, const at::Tensor& like) {
  checks::contiguous(t, what, like);
  checks::floating(t, what, false);
  checks::count(t, what, numel);
}
void checkType(at::ScalarType type, const char* what) {
  TORCH_CHECK_TYPE(kernelTypeKnown(type), "expected ", what,
                   " to be float32, bfloat16 or float16. Received: ", c10::getDtypeNames(type).first);
}
void checkColumns(const at::Tensor& x, int64_t columns) {
  TORCH_CHECK_VALUE(columns >= 1 && columns <= kMostColumns && x.numel() % columns == 0, "expected rows of 1 to ",
                    kMostColumns, " columns that divide ", x.numel(), " elements. Received: ", columns);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> forward(const at::Tensor& x, const Maybe& residual,
                                                                   const Maybe& weight, const Maybe& bias,
                                                                   int64_t columns, double eps, bool rms,
                                                                   at::ScalarType dtype) {
  checkColumns(x, columns);
  check(x, "x", x.numel(), x);
  checkType(dtype, "dtype");
  if (given(residual)) check(*residual, "residual", x.numel(), x);
  if (given(residual)) checks::shapeOf(*residual, "residual", x, "x");
  if (given(weight)) check(*weight, "weight", columns, x);
  if (given(bias)) check(*bias, "bias", columns, x);
  if (given(weight) && given(bias)) checks::type(*bias, "bias, as weight, ", weight->scalar_type());
  const c10::cuda::CUDAGuard guard(x.device());
  int64_t rows = x.numel() / columns;
  const auto xType = x.scalar_type(), rType = given(residual) ? residual->scalar_type() : xType,
             sumType = c10::promoteTypes(xType, rType);
  const auto wType = given(weight) ? weight->scalar_type() : given(bias) ? bias->scalar_type() : at::kFloat;
  at::Tensor sum, out = at::empty(x.sizes(), x.options().dtype(dtype)),
                  mean = at::empty({rows}, x.options().dtype(at::kFloat)), rstd = at::empty_like(mean);
  if (given(residual)) sum = at::empty(x.sizes(), x.options().dtype(sumType));
  if (rows == 0) return {sum, out, mean, rstd};
  const Shape s = shapeOf(columns, aligned(x) && (!given(residual) || aligned(*residual)) &&
                                       (!given(weight) || aligned(*weight)) && (!given(bias) || aligned(*bias)));
  auto& kernel = nvrtc::get(
      kernels::norm, "forward",
      options(s, xType, rType, sumType, dtype, wType, given(residual), given(weight), given(bias), false, rms));
  const void* px = x.const_data_ptr();
  const void* pr = given(residual) ? residual->const_data_ptr() : nullptr;
  const void* pw = given(weight) ? weight->const_data_ptr() : nullptr;
  const void* pb = given(bias) ? bias->const_data_ptr() : nullptr;
  void* ps = given(residual) ? sum.mutable_data_ptr() : nullptr;
  void* po = out.mutable_data_ptr();
  void* pm = mean.mutable_data_ptr();
  void* pv = rstd.mutable_data_ptr();
  float e = static_cast<float>(eps);
  void* arguments[] = {&px, &pr, &pw, &pb, &ps, &po, &pm, &pv, &rows, &e};
  nvrtc::launch(kernel, static_cast<unsigned>((rows + s.groups - 1) / s.groups),
                static_cast<unsigned>(s.threads * s.groups), arguments);
  return {sum, out, mean, rstd};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> backward(
    const at::Tensor& grad, const Maybe& gradSum, const at::Tensor& sum, const Maybe& weight, const at::Tensor& mean,
    const at::Tensor& rstd, int64_t columns, at::ScalarType xType, std::optional<at::ScalarType> residualType, bool rms,
    bool needWeight, bool needBias, bool needSums) {
  checkColumns(sum, columns);
  check(sum, "sum", sum.numel(), sum);
  check(grad, "grad", sum.numel(), sum);
  if (given(gradSum)) {
    check(*gradSum, "grad_sum", sum.numel(), sum);
    checks::type(*gradSum, "grad_sum, as sum, ", sum.scalar_type());
  }
  if (given(weight)) check(*weight, "weight", columns, sum);
  TORCH_CHECK_VALUE(given(weight) || !(needWeight || needBias),
                    "expected a weight where gradients of weight or bias are asked for. Received: none");
  checkType(xType, "x_dtype");
  if (residualType) checkType(*residualType, "residual_dtype");
  const c10::cuda::CUDAGuard guard(sum.device());
  int64_t rows = sum.numel() / columns;
  check(mean, "mean", rows, sum);
  check(rstd, "rstd", rows, sum);
  checks::type(mean, "mean", at::kFloat);
  checks::type(rstd, "rstd", at::kFloat);
  const auto rType = residualType.value_or(xType), wType = given(weight) ? weight->scalar_type() : at::kFloat;
  at::Tensor gx = at::empty(sum.sizes(), sum.options().dtype(xType)), gr, gw, gb, rs, partial;
  if (residualType) gr = at::empty(sum.sizes(), sum.options().dtype(rType));
  if (needWeight) gw = at::empty_like(*weight);
  if (needBias) gb = at::empty_like(*weight);
  if (rows == 0) {
    if (needWeight) gw.zero_();
    if (needBias) gb.zero_();
    return {gx, gr, gw, gb};
  }
  const Shape s = shapeOf(columns, aligned(sum) && aligned(grad) && (!given(gradSum) || aligned(*gradSum)) &&
                                       (!given(weight) || aligned(*weight)));
  const bool withSums = needSums && residualType.has_value();
  const auto list = options(s, xType, rType, sum.scalar_type(), grad.scalar_type(), wType, residualType.has_value(),
                            given(weight), false, given(gradSum), rms, withSums);
  // One that reads ahead fills a processor; of the others as many as there is room for.
  const bool ahead = s.groups > 1 && columns <= 768;
  const int64_t perProcessor = ahead ? 1 : std::max<int64_t>(1, 512 / (s.threads * s.groups));
  int blocks = static_cast<int>(std::min<int64_t>(
      (rows + s.groups - 1) / s.groups, at::cuda::getCurrentDeviceProperties()->multiProcessorCount * perProcessor));
  const bool sums = needWeight || needBias || withSums;
  const int64_t kinds = withSums ? 3 : 2;
  if (sums) partial = at::empty({blocks, kinds, columns}, sum.options().dtype(at::kFloat));
  if (withSums) rs = at::empty({columns}, partial.options());
  const void* pg = grad.const_data_ptr();
  const void* ps = given(gradSum) ? gradSum->const_data_ptr() : nullptr;
  const void* px = sum.const_data_ptr();
  const void* pw = given(weight) ? weight->const_data_ptr() : nullptr;
  const void* pm = mean.const_data_ptr();
  const void* pv = rstd.const_data_ptr();
  void* po = gx.mutable_data_ptr();
  void* pr = residualType ? gr.mutable_data_ptr() : nullptr;
  void* pp = sums ? partial.mutable_data_ptr() : nullptr;
  void* arguments[] = {&pg, &ps, &px, &pw, &pm, &pv, &po, &pr, &pp, &rows};
  nvrtc::launch(nvrtc::get(kernels::norm, "backward", list), static_cast<unsigned>(blocks),
                static_cast<unsigned>(s.threads * s.groups), arguments);
  if (sums) {
    void* pgw = needWeight ? gw.mutable_data_ptr() : nullptr;
    void* pgb = needBias ? gb.mutable_data_ptr() : nullptr;
    void* prs = withSums ? rs.mutable_data_ptr() : nullptr;
    void* more[] = {&pp, &pgw, &pgb, &prs, &blocks};
    nvrtc::launch(nvrtc::get(kernels::norm, "columns", list), static_cast<unsigned>((kinds * columns + 31) / 32), 1024,
                  more);
    if (withSums) keepColumnSums(gr, std::move(rs));
  }
  return {gx, gr, gw, gb};
}

NBIT_KERNELS(nbit, CUDA, m) {
  m.impl("add_norm", forward);
  m.impl("add_norm_backward", backward);
}

}  // namespace
}  // namespace nbit
