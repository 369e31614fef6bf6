/** What each process's loss counts in the mean over all. */
import { scope, Tensor, zeros } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { isOverridden } from "../hooks.js";
import type { LightningModule, ModuleHost } from "../module.js";
import type { Collectives, Strategy } from "../strategies/strategy.js";
import type { Batch } from "../types.js";

/** Asks a module's `lossWeight`, and every other process's. */
export class LossWeights {
  readonly #module: LightningModule;
  readonly #host: ModuleHost;
  readonly #strategy: Strategy;
  readonly #collectives: Collectives;

  private constructor(module: LightningModule, host: ModuleHost, strategy: Strategy, collectives: Collectives) {
    this.#module = module;
    this.#host = host;
    this.#strategy = strategy;
    this.#collectives = collectives;
  }

  /** Null: there is one process, or all count the same. */
  static of(module: LightningModule, host: ModuleHost, strategy: Strategy | null): LossWeights | null {
    const collectives = strategy?.collectives ?? null;
    if (strategy === null || collectives === null || !isOverridden(module, "lossWeight")) return null;
    return new LossWeights(module, host, strategy, collectives);
  }

  /**
   * A factor for this process's loss, so that the mean of all processes' gradients is that of the weighted mean: n · w
   * ÷ Σw. Waits for no device. A process without a loss weighs nothing.
   */
  factor(loss: Tensor | null, batch: Batch, batchIdx: number): Tensor {
    const { rootDevice, worldSize } = this.#strategy;
    const weight = loss === null ? 0 : this.#host.within("lossWeight", () => this.#module.lossWeight(batch, batchIdx));
    check(weight);
    return scope(() => {
      const mine = zeros([], { dtype: "float64", device: rootDevice });
      if (weight instanceof Tensor) mine.copy_(weight.detach().reshape([]));
      else mine.fill_(weight);
      const total = mine.clone();
      this.#collectives.reduce(total, "sum");
      // All weigh nothing: 0, and not 0 ÷ 0.
      return mine
        .mul(worldSize)
        .div(total.clamp({ min: Number.MIN_VALUE }))
        .to(loss?.dtype === "float64" ? "float64" : "float32");
    });
  }
}

function check(weight: unknown): void {
  const isWeight =
    weight instanceof Tensor
      ? weight.numel() === 1
      : typeof weight === "number" && weight >= 0 && Number.isFinite(weight);
  if (isWeight) return;
  throw new MisconfigurationError(
    "lossWeight",
    "a number ≥ 0, or a tensor of one element",
    weight,
    "Such as the number of samples in the batch.",
    "ERR_LOSS_WEIGHT",
  );
}
