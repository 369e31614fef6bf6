/** Casts of frozen weights, made once. */
import { ArgumentError } from "../errors.js";
import { native } from "../native.js";
import type { DeviceLike } from "../tensor/device.js";
import { handleOrZero, isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { policyTable } from "./policy-table.js";
import { AutocastPolicy, type PolicyRule } from "./policy.js";

/**
 * Keeps one 16-bit cast of each frozen weight, in place of one at every use.
 *
 * Autocast's own cache holds casts of parameters that want a gradient, and only until its region ends: a frozen backbone is cast anew at every use in every step. This keeps a cast
 * until the weight's values or storage change, also in place, or the region's dtype does; a parameter that is made to want a gradient again is left to autocast. Results are the same
 * to the last bit. Costs half of the weights' memory; matrix operators go through a boxed kernel, about a microsecond each.
 *
 * @example
 * using frozen = new amp.FrozenCasts(backbone);
 * autocast({ dtype: "bfloat16" }, () => frozen.run(() => model.forward(x)));
 * @throws {ArgumentError} `FrozenCasts: expected a module or tensors. Received: …`
 */
export class FrozenCasts extends AutocastPolicy {
  /** @param weights - A module, whose parameters that want no gradient are meant, or tensors. */
  constructor(weights: { parameters(): Iterable<Tensor> } | Iterable<Tensor>, device: DeviceLike = "cpu") {
    const lower: [string, PolicyRule][] = [];
    for (const [name, rule] of policyTable(device)) if (rule === "lower") lower.push([name, "lower"]);
    const tensors: unknown[] = "parameters" in weights ? [...weights.parameters()].filter((p) => !p.requiresGrad) : [...weights];
    for (const t of tensors) if (!isTensor(t)) throw new ArgumentError("FrozenCasts", "a module or tensors", t);
    super(Object.fromEntries(lower), device);
    for (const t of tensors) if (isTensor(t)) native.policyHold(this.id, handleOrZero(t));
  }

  /** What the kept casts take now, in bytes. */
  get bytes(): number {
    return native.policyHeldBytes(this.id);
  }
}
