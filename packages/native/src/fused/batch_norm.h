// What both kinds of batch_norm_relu share: their view of the input as rows of channels.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>

namespace nbit {

/** `[N, C, …]` → `[N, …, C]`, the order in which channels-last memory has it. */
inline at::Tensor channelsLastView(const at::Tensor& t) { return t.movedim(1, -1); }
inline bool isChannelsLast(const at::Tensor& t) { return t.dim() >= 2 && channelsLastView(t).is_contiguous(); }
/** `t`, or a copy of it in the memory order of `like`. */
inline at::Tensor inOrderOf(const at::Tensor& t, const at::Tensor& like) {
  return isChannelsLast(t) ? t : at::empty_like(like, like.options().dtype(t.scalar_type())).copy_(t);
}

}  // namespace nbit
