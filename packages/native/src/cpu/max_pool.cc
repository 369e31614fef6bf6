// Max pooling over windows of 2×2 in float32: libtorch's kernel looks at one element after the other, and takes a third
// of a small network's step. The larger of two numbers is exact, so values and indices are libtorch's, NaN and ties
// (the first counts) included; hence no switch. Other windows, layouts and dtypes are libtorch's.
#include "binding/library.h"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/max_pool2d_with_indices_cpu_dispatch.h>

#include <algorithm>
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

/** The largest of each window, and which of its four it is. */
NBIT_WIDEST void largestOf(const float* __restrict above, const float* __restrict below, float* __restrict out,
                           int32_t* __restrict which, int64_t n) {
  for (int64_t j = 0; j < n; j++) {
    float largest = -std::numeric_limits<float>::infinity();
    int32_t best = 0;
    const auto see = [&](float value, int32_t k) {
      const bool takes = (value > largest) | (value != value);
      largest = takes ? value : largest;
      best = takes ? k : best;
    };
    see(above[2 * j], 0);
    see(above[2 * j + 1], 1);
    see(below[2 * j], 2);
    see(below[2 * j + 1], 3);
    out[j] = largest;
    which[j] = best;
  }
}
/** Where in its plane; `first`: where windows begin. */
NBIT_WIDEST void placesOf(const int32_t* __restrict which, const int64_t* __restrict first, int64_t* __restrict index,
                          int64_t n, int64_t width) {
  for (int64_t j = 0; j < n; j++) index[j] = first[j] + (which[j] >> 1) * width + (which[j] & 1);
}

void pool(const at::Tensor& input, at::Tensor& out, at::Tensor& indices) {
  const int64_t height = input.size(2), width = input.size(3), rows = height / 2, columns = width / 2;
  const int64_t windows = rows * columns;
  const float* const from = input.const_data_ptr<float>();
  float* const to = out.mutable_data_ptr<float>();
  int64_t* const index = indices.mutable_data_ptr<int64_t>();
  std::vector<int64_t> first(static_cast<size_t>(windows));
  for (int64_t i = 0; i < windows; i++) first[i] = 2 * (i / columns) * width + 2 * (i % columns);
  at::parallel_for(0, input.size(0) * input.size(1), at::internal::GRAIN_SIZE / (height * width) + 1,
                   [&](int64_t begin, int64_t end) {
                     // Rows are short where it matters: side by side they fill vectors.
                     std::vector<float> above(2 * windows), below(2 * windows);
                     std::vector<int32_t> which(windows);
                     for (int64_t p = begin; p < end; p++) {
                       const float* plane = from + p * height * width;
                       for (int64_t i = 0; i < rows; i++, plane += 2 * width) {
                         std::copy_n(plane, 2 * columns, above.data() + 2 * i * columns);
                         std::copy_n(plane + width, 2 * columns, below.data() + 2 * i * columns);
                       }
                       largestOf(above.data(), below.data(), to + p * windows, which.data(), windows);
                       placesOf(which.data(), first.data(), index + p * windows, windows, width);
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
