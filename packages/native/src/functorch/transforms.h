// What the rest of the addon asks about function transforms.
#pragma once
#include <ATen/core/TensorBody.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace nbit {

/** Whether this thread runs inside of a transform. */
bool insideTransform();
/** The tensor that has a tensor's values, whichever transforms differentiate it; of one that is mapped over, an error.
 */
at::Tensor withValues(const at::Tensor& t);

/** While one lives, new tensors are none of a transform: for memory that is filled at once. */
class OutsideTransforms {
  const c10::impl::ExcludeDispatchKeyGuard guard_{c10::DispatchKeySet(
      {c10::DispatchKey::FuncTorchDynamicLayerFrontMode, c10::DispatchKey::FuncTorchDynamicLayerBackMode})};
};

}  // namespace nbit
