import type { optim, Tensor } from "@nbit/torch";

/** Gradients of a module's parameters, unscaled and as precisely as a precision holds them. */
export interface GradientAccess {
  /** The gradient of a module's parameter: what a checkpoint within a window keeps. */
  of(parameter: Tensor): Tensor | null;
  /** Put back what {@link of} returned, of a run in this or in another precision. A copy is made. */
  set(parameter: Tensor, gradient: Tensor | null): void;
  /** This optimizer's gradients were thrown away, or filled with zeros. */
  cleared(optimizer: optim.Optimizer): void;
}

/** Of precisions whose optimizers step the module's own parameters. */
export const OWN_GRADIENTS: GradientAccess = Object.freeze({
  of: (parameter: Tensor) => parameter.grad,
  set: (parameter: Tensor, gradient: Tensor | null) => {
    parameter.grad =
      gradient === null ? null : gradient.to({ device: parameter.device, dtype: parameter.dtype, copy: true });
  },
  cleared: () => undefined,
});
