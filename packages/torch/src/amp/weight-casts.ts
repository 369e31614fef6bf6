/** 16-bit casts of weights, made once per change instead of at every use. */
import { ArgumentError, NbitError } from "../errors.js";
import { native, writeLists } from "../native.js";
import { atMost } from "../options.js";
import { iterated } from "../read-once.js";
import { schemasOf } from "../ops/schema.js";
import { device as deviceOf, deviceTypeCode, type DeviceLike } from "../tensor/device.js";
import { dtypeCode, type DType } from "../tensor/dtype.js";
import { handleOrZero, handlesOf, isTensor, wrap } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { libtorchRules } from "./policy-table.js";

/**
 * Operators that take weights. Those among them that libtorch runs in a region's dtype get a kernel that knows of the
 * casts; any other operator casts as ever.
 */
const OPERATORS = [
  "linear",
  "matmul",
  "mm",
  "mv",
  "addmm",
  "addmv",
  "bmm",
  "baddbmm",
  "addbmm",
  "prelu",
  "conv1d",
  "conv2d",
  "conv3d",
  "conv_transpose1d",
  "conv_transpose2d",
  "conv_transpose3d",
  "_convolution",
];

/** A module, whose parameters are meant, or tensors. */
export type Weights = { parameters(): Iterable<Tensor> } | Iterable<Tensor>;

/**
 * Keeps one 16-bit cast of each weight for as long as the weight stays as it is, in place of one at every use: over all
 * batches of an accumulation window, and over a validation.
 *
 * A cast is made anew when its weight was written in place, got other memory, or may have changed behind its version
 * counter (an optimizer's step, the replay of a CUDA graph that steps otherwise than below): then the casts of all weights that were used before are
 * made together, in a few kernels where the device has them (`_foreach_copy_`), into the memory that they have. Results
 * are the same to the last bit, gradients too: every use has its own node, whose backward casts its gradient to the
 * weight's dtype, where gradients of several uses are summed (libtorch's cache sums them in 16 bits).
 *
 * On a GPU a fused `Adam` or `AdamW` of float32 weights (without amsgrad) writes the casts that are in use together with
 * the weights, so that nothing is cast anew after it. A CUDA graph that uses casts does not make them: before a replay
 * those that are not of the weights as they are then are made anew, and after it those are kept whose weights it left
 * alone or stepped so.
 *
 * Costs two bytes per element of the weights that matrix operators use. Does not synchronize; may be captured in a CUDA
 * graph. Uses on several streams need what sharing a tensor between streams needs.
 *
 * @example
 * using casts = new amp.WeightCasts(model);
 * for (const x of microBatches) autocast({ dtype: "bfloat16" }, () => casts.run(() => model.forward(x).sum())).backward(); // each weight is cast once
 * @throws {ArgumentError} `WeightCasts: expected a module or tensors. Received: …`
 */
export class WeightCasts {
  readonly device: string;
  #casts: number;
  #kernels: number;

  constructor(weights: Weights, device: DeviceLike = "cpu") {
    atMost("WeightCasts", arguments, 2);
    const { fn, trainable } = this.kind;
    this.device = deviceOf(device, fn).type;
    const tensors: unknown[] = isWithParameters(weights) ? [...weights.parameters()] : iterated(fn, "weights", weights);
    for (const t of tensors) if (!isTensor(t)) throw new ArgumentError(fn, "a module or tensors", t);
    const held = tensors
      .filter(isTensor)
      .filter((t) => t.isFloatingPoint() && (trainable || !t.requiresGrad || !isWithParameters(weights)));
    const rules = libtorchRules(this.device, OPERATORS);
    const lines = OPERATORS.filter((name) => rules.get(name) === "lower" && schemasOf(`aten::${name}`).length > 0).map(
      (name) => `${name}\tlibtorch\tlower`,
    );
    writeLists(handlesOf(fn, "weights", held));
    this.#casts = native.weightCastsCreate(trainable);
    this.#kernels = native.policyCreate(deviceTypeCode(this.device), lines.join("\n"));
  }

  /** @internal */
  protected get kind(): { readonly fn: string; readonly trainable: boolean } {
    return { fn: "WeightCasts", trainable: true };
  }

  /** Run `fn` with these casts; they matter inside autocast regions only. */
  run<T>(fn: () => T): T {
    atMost("WeightCasts.run", arguments, 1);
    if (typeof fn !== "function") throw new ArgumentError(`${this.kind.fn}.run`, "fn to be a function", fn);
    if (this.#casts === 0)
      throw new NbitError(
        `${this.kind.fn}.run: expected casts that are in use. Received: ones that were disposed of.`,
        "POLICY_DISPOSED",
      );
    native.weightCastsPush(this.#casts);
    try {
      return fn();
    } finally {
      native.weightCastsPop();
    }
  }

  /** What the cached casts take now, in bytes. */
  get bytes(): number {
    return this.#casts === 0 ? 0 : native.weightCastsBytes(this.#casts);
  }

  /**
   * How many casts were made so far, each by a pass over its weight. A step of a fused Adam or AdamW on a GPU makes
   * none: it writes the casts with the weights.
   */
  get made(): number {
    return this.#casts === 0 ? 0 : native.weightCastsMade(this.#casts);
  }

  dispose(): void {
    atMost("WeightCasts.dispose", arguments, 0);
    if (this.#casts === 0) return;
    native.weightCastsFree(this.#casts);
    native.policyFree(this.#kernels);
    this.#casts = 0;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

function isWithParameters(weights: Weights): weights is Extract<Weights, { parameters(): unknown }> {
  return (
    typeof weights === "object" &&
    weights !== null &&
    "parameters" in weights &&
    typeof weights.parameters === "function"
  );
}

/** @internal For operators that cast a weight themselves: its cached cast, null where none is kept. */
export function cachedWeightCast(weight: Tensor, dtype: DType): Tensor | null {
  const handle = native.weightCast(handleOrZero(weight), dtypeCode(dtype, "WeightCasts"));
  return handle === 0 ? null : wrap(handle);
}
