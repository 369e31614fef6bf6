// Attention in 16 bits on the CPU, forward and backward: what `scaledDotProductAttention` chooses where it can. Masks
// and dropout are libtorch's.
#include "binding/library.h"
#include "cpu/kernels.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward_native.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_native.h>
#include <ATen/ops/empty.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cmath>

namespace nbit::cpu {
namespace {

using Mask = std::optional<at::Tensor>;

bool plain(const at::Tensor& t, const at::Tensor& like) {
  return t.dim() == 4 && t.layout() == at::kStrided && t.scalar_type() == like.scalar_type() && t.numel() > 0 &&
         t.size(0) == like.size(0) && t.size(1) == like.size(1) && t.size(3) == like.size(3);
}
const AttentionKernels* kernelsFor(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                   double dropout, const Mask& mask) {
  if (dropout != 0 || (mask && mask->defined()) || !plain(query, query) || !plain(key, query) || !plain(value, query) ||
      key.size(2) != value.size(2))
    return nullptr;
  return attentionOf(query.scalar_type());
}

/** [batch, head, position, width] with dense rows. */
at::Tensor dense(const at::Tensor& t) { return t.stride(3) == 1 || t.size(3) == 1 ? t : t.contiguous(); }
Head<const void> headOf(const at::Tensor& t, int64_t i) {
  const int64_t at = i / t.size(1) * t.stride(0) + i % t.size(1) * t.stride(1);
  return {static_cast<const char*>(t.const_data_ptr()) + at * static_cast<int64_t>(t.element_size()), t.stride(2)};
}
Head<void> writtenHead(const at::Tensor& t, int64_t i) {
  const auto [data, row] = headOf(t, i);
  return {const_cast<void*>(data), row};
}
float* rowsOfSums(const at::Tensor& t, int64_t i) {
  return t.mutable_data_ptr<float>() + i / t.size(1) * t.stride(0) + i % t.size(1) * t.stride(1);
}
/** Heads beside each other at each position, as the layer after attention wants them. */
at::Tensor emptyLike(const at::Tensor& t) {
  return at::empty({t.size(0), t.size(2), t.size(1), t.size(3)}, t.options()).transpose(1, 2);
}
AttentionShape shapeOf(const at::Tensor& query, const at::Tensor& key, bool causal, std::optional<double> scale) {
  return {query.scalar_type() == c10::kHalf ? Format::half : Format::bfloat,
          query.size(2),
          key.size(2),
          query.size(3),
          static_cast<float>(scale ? *scale : 1 / std::sqrt(static_cast<double>(query.size(3)))),
          causal};
}
c10::DataPtr space(int64_t steps) { return c10::GetCPUAllocator()->allocate(static_cast<size_t>(steps) * 4); }

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                           double dropout, bool causal, const Mask& mask, std::optional<double> scale) {
  const AttentionKernels* const kernels = kernelsFor(query, key, value, dropout, mask);
  if (kernels == nullptr)
    return at::native::_scaled_dot_product_flash_attention_cpu(query, key, value, dropout, causal, mask, scale);
  const at::Tensor q = dense(query), k = dense(key), v = dense(value), out = emptyLike(query);
  const at::Tensor sums = at::empty({q.size(0), q.size(2), q.size(1)}, q.options().dtype(c10::kFloat)).transpose(1, 2);
  const AttentionShape shape = shapeOf(q, k, causal, scale);
  const int64_t heads = q.size(0) * q.size(1);
  // Fewer heads than threads: each is shared, and its keys and values are prepared by every one that shares it.
  const int64_t wanted = (at::get_num_threads() + heads - 1) / heads;
  const int64_t parts = std::clamp<int64_t>(shape.queries / 96, 1, wanted);
  const int64_t each = (shape.queries + parts - 1) / parts;
  at::parallel_for(0, heads * parts, 1, [&](int64_t from, int64_t to) {
    const c10::DataPtr memory = space(kernels->space(shape));
    for (int64_t i = from; i < to; i++) {
      const int64_t head = i / parts, first = std::min(shape.queries, i % parts * each);
      kernels->forward(shape, {headOf(q, head), headOf(k, head), headOf(v, head)}, writtenHead(out, head),
                       rowsOfSums(sums, head), sums.stride(2), first, std::min(shape.queries, first + each),
                       static_cast<uint32_t*>(memory.get()));
    }
  });
  return {out, sums};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& gradient, const at::Tensor& query,
                                                        const at::Tensor& key, const at::Tensor& value,
                                                        const at::Tensor& out, const at::Tensor& sums, double dropout,
                                                        bool causal, const Mask& mask, std::optional<double> scale) {
  const AttentionKernels* const kernels =
      gradient.sizes() == query.sizes() && out.sizes() == query.sizes() && plain(gradient, query) && plain(out, query)
          ? kernelsFor(query, key, value, dropout, mask)
          : nullptr;
  if (kernels == nullptr)
    return at::native::_scaled_dot_product_flash_attention_cpu_backward(gradient, query, key, value, out, sums, dropout,
                                                                        causal, mask, scale);
  const at::Tensor q = dense(query), k = dense(key), v = dense(value), o = dense(out), g = dense(gradient);
  const at::Tensor forQuery = emptyLike(q), forKey = emptyLike(k), forValue = emptyLike(v);
  const AttentionShape shape = shapeOf(q, k, causal, scale);
  at::parallel_for(0, q.size(0) * q.size(1), 1, [&](int64_t from, int64_t to) {
    const c10::DataPtr memory = space(kernels->backwardSpace(shape));
    for (int64_t i = from; i < to; i++)
      kernels->backward(shape, {headOf(q, i), headOf(k, i), headOf(v, i)}, headOf(o, i), headOf(g, i),
                        rowsOfSums(sums, i), sums.stride(2), writtenHead(forQuery, i), writtenHead(forKey, i),
                        writtenHead(forValue, i), static_cast<uint32_t*>(memory.get()));
  });
  return {forQuery, forKey, forValue};
}

NBIT_KERNELS(aten, CPU, m) {
  const Quiet replacing;
  m.impl("_scaled_dot_product_flash_attention_for_cpu", forward);
  m.impl("_scaled_dot_product_flash_attention_for_cpu_backward", backward);
}

}  // namespace
}  // namespace nbit::cpu
