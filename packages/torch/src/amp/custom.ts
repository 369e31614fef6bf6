/** Autocast for operators whose forward and backward are written in TypeScript. */
import { callable, text } from "../kinds.js";
import { dtypeKind } from "../tensor/kinds.js";
import type { FunctionContext } from "../autograd/function.js";
import { autocastState } from "../backend.js";
import { ArgumentError, NbitError } from "../errors.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import type { DType } from "../tensor/dtype.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { autocast } from "./autocast.js";
import { isPlain } from "../realm.js";

export interface CustomForwardOptions {
  /** Type of the device whose autocast is meant. Default "cpu". */
  readonly deviceType?: string;
  /**
   * Under autocast: floating point inputs (float64 aside) are cast to this, and forward runs without autocast. Default:
   * inputs stay, and forward runs under autocast as it is.
   */
  readonly castInputs?: DType;
}

const NAMES: OptionNames<CustomForwardOptions> = { deviceType: text, castInputs: dtypeKind };

interface Region {
  readonly deviceType: string;
  readonly enabled: boolean;
  readonly dtype: DType;
}
const regions = new WeakMap<FunctionContext, Region>();

function castAll(value: unknown, dtype: DType, deviceType: string): unknown {
  if (isTensor(value))
    return value.isFloatingPoint() && value.dtype !== "float64" && value.device.type === deviceType
      ? value.to(dtype)
      : value;
  if (Array.isArray(value)) return value.map((v) => castAll(v, dtype, deviceType));
  if (isPlain(value))
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, castAll(v, dtype, deviceType)]));
  return value;
}

/**
 * Wrap the forward of an {@link AutogradFunction}: its backward, wrapped with {@link customBwd}, then runs under the
 * autocast that forward ran under.
 *
 * With `castInputs`, forward called under autocast gets its floating point tensors (also those in arrays and plain
 * objects) in that dtype and runs with autocast off; called outside autocast nothing is cast. Gradients come back in
 * the dtypes of the arguments.
 *
 * @throws {ArgumentError} `customFwd: expected castInputs to be a floating point dtype. Received: "int64".`
 * @example
 * class Product extends AutogradFunction {
 *   static forward = customFwd((ctx: FunctionContext, a: Tensor, b: Tensor) => {
 *     ctx.saveForBackward(a, b);
 *     return a.mm(b);
 *   });
 *   static backward = customBwd((ctx: FunctionContext, g: Tensor) => [g.mm(ctx.saved(1).t()), ctx.saved(0).t().mm(g)]);
 * }
 * @see torch.amp.custom_fwd
 */
export function customFwd<Args extends readonly unknown[], R extends Tensor | readonly Tensor[]>(
  forward: (ctx: FunctionContext, ...args: Args) => R,
  options: CustomForwardOptions = {},
): (ctx: FunctionContext, ...args: Args) => R {
  atMost("customFwd", arguments, 2);
  checkArguments("customFwd", { forward }, { forward: callable });
  checkOptions("customFwd", options, NAMES);
  const { deviceType = "cpu", castInputs } = options;
  if (castInputs !== undefined && !/^b?float/.test(castInputs))
    throw new ArgumentError("customFwd", "castInputs to be a floating point dtype", castInputs);
  return (ctx, ...args) => {
    const { enabled, dtype } = autocastState(deviceType);
    if (castInputs === undefined || !enabled) {
      regions.set(ctx, { deviceType, dtype, enabled });
      return forward(ctx, ...args);
    }
    regions.set(ctx, { deviceType, dtype, enabled: false });
    // The same arguments, some of them cast: still Args.
    const cast = args.map((a) => castAll(a, castInputs, deviceType)) as unknown as Args;
    return autocast({ deviceType, enabled: false }, () => forward(ctx, ...cast));
  };
}

/**
 * Wrap the backward of an {@link AutogradFunction}, so that it runs under the autocast that its forward ran under.
 *
 * @throws {NbitError} `AMP_CUSTOM_BWD` when forward was not wrapped with {@link customFwd}.
 * @see torch.amp.custom_bwd
 */
export function customBwd<Grads extends readonly Tensor[], R>(
  backward: (ctx: FunctionContext, ...grads: Grads) => R,
): (ctx: FunctionContext, ...grads: Grads) => R {
  atMost("customBwd", arguments, 1);
  checkArguments("customBwd", { backward }, { backward: callable });
  return (ctx, ...grads) => {
    const region = regions.get(ctx);
    if (region === undefined)
      throw new NbitError(
        "customBwd: expected a forward wrapped with customFwd. Received: one that was not, so that nobody knows its autocast state. Write static forward = customFwd(…).",
        "AMP_CUSTOM_BWD",
      );
    return autocast({ deviceType: region.deviceType, enabled: region.enabled, dtype: region.dtype }, () =>
      backward(ctx, ...grads),
    );
  };
}
