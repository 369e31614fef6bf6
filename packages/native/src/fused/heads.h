// What both kinds of join_heads share.
#pragma once
#include <ATen/core/Tensor.h>

namespace nbit {

/** Three tensors [B, H, T, D], alike but for their strides. */
void checkHeads(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

}  // namespace nbit
