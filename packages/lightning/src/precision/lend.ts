import { keep, outsideScopes } from "@nbit/torch";
import type { DType, Tensor, nn } from "@nbit/torch";

/**
 * Hold a module's weights and buffers in another floating dtype for a while. Both are in memory until the returned function puts the first ones back, exactly, with their gradients;
 * what was written to buffers meanwhile is lost.
 */
export function lendDtype(module: nn.Module, dtype: DType): () => void {
  const lent: { readonly tensor: Tensor; readonly original: Tensor; readonly grad: Tensor | null }[] = [];
  for (const tensor of [...module.parameters(), ...module.buffers()]) {
    if (!tensor.isFloatingPoint() || tensor.dtype === dtype) continue;
    const { grad } = tensor;
    if (grad !== null) {
      keep(grad);
      tensor.grad = null;
    }
    const original = outsideScopes(() => tensor.detach());
    const cast = original.to(dtype);
    tensor.setData(cast);
    cast.dispose();
    lent.push({ tensor, original, grad });
  }
  return () => {
    for (const { tensor, original, grad } of lent) {
      tensor.setData(original);
      original.dispose();
      if (grad === null) continue;
      tensor.grad = grad;
      grad.dispose();
    }
  };
}
