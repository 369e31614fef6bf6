/** `Module.to`: parameters, gradients and buffers to another dtype or device. */
import { addToMessage, ArgumentError, OutOfMemoryError } from "../errors.js";
import { flag } from "../kinds.js";
import { checkArguments, checkOptions, type OptionNames } from "../options.js";
import { Device, type DeviceLike } from "../tensor/device.js";
import { isComplex, isDType, isFloatingPoint, type DType } from "../tensor/dtype.js";
import { deviceKind, dtypeKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Tree } from "./tree.js";

export interface ModuleToOptions {
  readonly dtype?: DType | undefined;
  readonly device?: DeviceLike | undefined;
  readonly nonBlocking?: boolean | undefined;
}
const TO: OptionNames<ModuleToOptions> = { dtype: dtypeKind, device: deviceKind, nonBlocking: flag };

export function moduleToOptions(target: DType | DeviceLike | ModuleToOptions): ModuleToOptions {
  if (typeof target === "string" && !isDType(target))
    checkArguments("Module.to", { target: target as DeviceLike }, { target: deviceKind });
  const options: ModuleToOptions =
    typeof target === "string"
      ? isDType(target)
        ? { dtype: target }
        : { device: target }
      : target instanceof Device
        ? { device: target }
        : target;
  checkOptions("Module.to", options, TO);
  if (options.dtype !== undefined && !isFloatingPoint(options.dtype) && !isComplex(options.dtype))
    throw new ArgumentError("Module.to", "dtype to be a floating point or complex dtype", options.dtype);
  return options;
}

/**
 * Convert the own tensors of each module in place. A real dtype casts what is in real floating point, a complex one what is
 * complex too; the rest keeps its dtype.
 */
export function convertModules<M>(tree: Tree<M>, modules: Iterable<M>, options: ModuleToOptions): void {
  const complex = options.dtype !== undefined && isComplex(options.dtype);
  const convert = (t: Tensor): Tensor =>
    t
      .detach()
      .to(isFloatingPoint(t.dtype) || (complex && isComplex(t.dtype)) ? options : { ...options, dtype: undefined });
  let done = 0;
  try {
    for (const module of modules) {
      for (const [, p] of tree.parameters(module, { recurse: false })) {
        convertParameter(p, convert);
        done++;
      }
      for (const [, b] of tree.buffers(module, { recurse: false })) {
        const next = convert(b);
        if (next.dtype !== b.dtype || next.device !== b.device) b.setData(next);
        done++;
      }
    }
  } catch (error) {
    if (error instanceof OutOfMemoryError && done > 0)
      addToMessage(
        error,
        `Module.to was interrupted: ${done} parameters and buffers are converted, the others are not. ` +
          "Call it again when there is room.",
      );
    throw error;
  }
}

/** With its gradient, which has to be of the same dtype and device at all times. */
function convertParameter(p: Tensor, convert: (t: Tensor) => Tensor): void {
  const next = convert(p);
  const { grad } = p;
  const nextGrad = grad === null ? null : convert(grad);
  if (grad !== null) p.grad = null;
  p.setData(next);
  if (grad !== null) p.grad = nextGrad;
}
