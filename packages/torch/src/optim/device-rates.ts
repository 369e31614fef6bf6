import { full } from "../ops/index.js";
import { device as deviceOf, type DeviceLike } from "../tensor/device.js";
import { outsideScopes } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import type { ParamGroup } from "./state.js";

/** Learning rates of groups in tensors, where a recorded graph reads them. */
export class DeviceRates {
  readonly #rates = new Map<ParamGroup, { readonly tensor: Tensor; value: number }>();

  /** On the CPU in float64, so that steps are those of a rate that is a number. */
  keep(groups: readonly ParamGroup[], device: DeviceLike): void {
    const dtype = deviceOf(device).type === "cpu" ? "float64" : "float32";
    for (const g of groups)
      if (!this.#rates.has(g))
        this.#rates.set(g, { tensor: outsideScopes(() => full([], g.lr, { dtype, device })), value: g.lr });
  }
  /** Write the groups' numbers to the device, where they have changed. */
  refresh(): void {
    for (const [g, rate] of this.#rates) {
      if (rate.value === g.lr) continue;
      rate.tensor.fill_(g.lr);
      rate.value = g.lr;
    }
  }
  release(): void {
    for (const { tensor } of this.#rates.values()) tensor.dispose();
    this.#rates.clear();
  }
  /** Null where none is kept. */
  of(group: ParamGroup): Tensor | null {
    return this.#rates.size === 0 ? null : (this.#rates.get(group)?.tensor ?? null);
  }
}
