// Max pooling over windows of 2×2 in float32: libtorch's kernel looks at one element after the other, and takes a third
// of a small network's step. The larger of two numbers is exact, so values and indices are libtorch's, NaN and ties
// (the first counts) included; hence no switch. Other windows, layouts and dtypes are libtorch's.
#include "binding/library.h"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/max_pool2d_with_indices_cpu_dispatch.h>

#include <array>
#include <limits>
#include <tuple>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define NBIT_WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define NBIT_WIDEST
#endif

namespace nbit::cpu {
namespace {

bool isTwo(at::IntArrayRef list) {
  for (const int64_t n : list)
    if (n != 2) return false;
  return list.size() == 1 || list.size() == 2;
}
bool isAll(at::IntArrayRef list, int64_t value) {
  for (const int64_t n : list)
    if (n != value) return false;
  return true;
}

bool takes(const at::Tensor& input, at::IntArrayRef kernel, at::IntArrayRef stride, at::IntArrayRef padding,
           at::IntArrayRef dilation) {
  return input.scalar_type() == at::kFloat && input.layout() == at::kStrided && input.dim() == 4 &&
         input.is_contiguous() && !input.is_contiguous(at::MemoryFormat::ChannelsLast) && input.numel() > 0 &&
         input.size(2) >= 2 && input.size(3) >= 2 && isTwo(kernel) && (stride.empty() || isTwo(stride)) &&
         isAll(padding, 0) && isAll(dilation, 1);
}

/** One row of windows: the largest of each, and which of the four it is. */
NBIT_WIDEST void row(const float* __restrict above, const float* __restrict below, float* __restrict out,
                     int32_t* __restrict which, int64_t n) {
  for (int64_t j = 0; j < n; j++) {
    const float seen[4] = {above[2 * j], above[2 * j + 1], below[2 * j], below[2 * j + 1]};
    float largest = -std::numeric_limits<float>::infinity();
    int32_t best = 0;
    for (int32_t k = 0; k < 4; k++) {
      const bool takes = (seen[k] > largest) | (seen[k] != seen[k]);
      largest = takes ? seen[k] : largest;
      best = takes ? k : best;
    }
    out[j] = largest;
    which[j] = best;
  }
}
/** Where in its plane: `at` is the first window's first element. */
NBIT_WIDEST void places(const int32_t* __restrict which, int64_t* __restrict index, int64_t n, int64_t at,
                        int64_t width) {
  for (int64_t j = 0; j < n; j++) index[j] = at + 2 * j + (which[j] >> 1) * width + (which[j] & 1);
}

void pool(const at::Tensor& input, at::Tensor& out, at::Tensor& indices) {
  const int64_t height = input.size(2), width = input.size(3), rows = height / 2, columns = width / 2;
  const float* const from = input.const_data_ptr<float>();
  float* const to = out.mutable_data_ptr<float>();
  int64_t* const index = indices.mutable_data_ptr<int64_t>();
  at::parallel_for(0, input.size(0) * input.size(1), at::internal::GRAIN_SIZE / (height * width) + 1,
                   [&](int64_t first, int64_t end) {
                     std::vector<int32_t> which(static_cast<size_t>(columns));
                     for (int64_t p = first; p < end; p++)
                       for (int64_t i = 0; i < rows; i++) {
                         const float* const above = from + p * height * width + 2 * i * width;
                         const int64_t at = (p * rows + i) * columns;
                         row(above, above + width, to + at, which.data(), columns);
                         places(which.data(), index + at, columns, 2 * i * width, width);
                       }
                   });
}

std::tuple<at::Tensor, at::Tensor> maxPool(const at::Tensor& input, at::IntArrayRef kernel, at::IntArrayRef stride,
                                           at::IntArrayRef padding, at::IntArrayRef dilation, bool ceilMode) {
  if (ceilMode || !takes(input, kernel, stride, padding, dilation))
    return at::cpu::max_pool2d_with_indices(input, kernel, stride, padding, dilation, ceilMode);
  const std::array<int64_t, 4> sizes{input.size(0), input.size(1), input.size(2) / 2, input.size(3) / 2};
  at::Tensor out = at::empty(sizes, input.options());
  at::Tensor indices = at::empty(sizes, input.options().dtype(at::kLong));
  pool(input, out, indices);
  return {out, indices};
}

std::tuple<at::Tensor&, at::Tensor&> maxPoolInto(const at::Tensor& input, at::IntArrayRef kernel,
                                                 at::IntArrayRef stride, at::IntArrayRef padding,
                                                 at::IntArrayRef dilation, bool ceilMode, at::Tensor& out,
                                                 at::Tensor& indices) {
  const auto fits = [&](const at::Tensor& t, at::ScalarType dtype) {
    return t.scalar_type() == dtype && t.dim() == 4 && t.is_contiguous() && t.size(0) == input.size(0) &&
           t.size(1) == input.size(1) && t.size(2) == input.size(2) / 2 && t.size(3) == input.size(3) / 2;
  };
  if (ceilMode || !takes(input, kernel, stride, padding, dilation) || !fits(out, at::kFloat) ||
      !fits(indices, at::kLong) || out.is_alias_of(input) || indices.is_alias_of(input) || out.is_alias_of(indices))
    return at::cpu::max_pool2d_with_indices_outf(input, kernel, stride, padding, dilation, ceilMode, out, indices);
  pool(input, out, indices);
  return {out, indices};
}

NBIT_KERNELS(aten, CPU, m) {
  m.impl("max_pool2d_with_indices", maxPool);
  m.impl("max_pool2d_with_indices.out", maxPoolInto);
}

}  // namespace
}  // namespace nbit::cpu
