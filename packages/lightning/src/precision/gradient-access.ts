import { optim, type Tensor } from "@nbit/torch";

/** Gradients of a module's parameters, unscaled and as precisely as a precision holds them. */
export interface GradientAccess {
  /** The gradient of a module's parameter: what a checkpoint within a window keeps. */
  of(parameter: Tensor): Tensor | null;
  /** Put back what {@link of} returned, of a run in this or in another precision. A copy is made. */
  set(parameter: Tensor, gradient: Tensor | null): void;
  /** This optimizer's gradients were thrown away, or filled with zeros. */
  cleared(optimizer: optim.Optimizer): void;
}

/**
 * Of precisions whose optimizers step the module's own parameters, or this process's shares of them: `of` is then the
 * gradient of the share.
 */
export const OWN_GRADIENTS: GradientAccess = Object.freeze({
  of: (parameter: Tensor) => (optim.shardOf(parameter)?.shard ?? parameter).grad,
  set: (parameter: Tensor, gradient: Tensor | null) => {
    const share = optim.shardOf(parameter);
    const stepped = share === null ? parameter : share.shard;
    if (stepped === null) return; // nothing of it is here
    const own =
      share === null || gradient === null
        ? gradient
        : gradient.reshape([-1]).narrow(0, share.start, share.end - share.start);
    stepped.grad = own === null ? null : own.to({ device: stepped.device, dtype: stepped.dtype, copy: true });
  },
  cleared: () => undefined,
});
