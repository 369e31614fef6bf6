import type { Tensor } from "@nbit/torch";
import type { NonFiniteWatch } from "../loops/non-finite-watch.js";
import type { GradientSync, Strategy } from "../strategies/strategy.js";

/** What processes that train together tell each other around the forward and backward of a batch; one alone, nothing. */
export class BatchExchange {
  readonly #strategy: Strategy | null;
  readonly #watch: NonFiniteWatch | null;
  /** Gradients of this batch travel: they are complete after it. */
  #sync = false;
  /** Backward runs for the others alone. */
  #absent = false;
  /** Of a batch without a loss here: some process had one, or gradients of earlier batches, and so all step. */
  othersHadLoss = false;

  constructor(strategy: Strategy | null, watch: NonFiniteWatch | null) {
    this.#strategy = strategy;
    this.#watch = watch;
  }

  get #gradients(): GradientSync | null {
    return this.#strategy?.gradients ?? null;
  }

  /** Gradients of a window are complete without an exchange. */
  get isAlone(): boolean {
    return this.#gradients === null;
  }

  /** @param sync - Not within a window, at whose end its gradients travel together. */
  begin(sync: boolean): void {
    this.#sync = sync;
    this.othersHadLoss = false;
  }

  beforeForward(): void {
    this.#gradients?.beforeForward(this.#sync);
  }

  /** Looks at this process's loss. Others hear of one that is not finite with the gradients, or before backward. */
  watchLoss(loss: Tensor): void {
    const gradients = this.#gradients;
    const tellsOthers = gradients?.worstLoss !== undefined || gradients?.allFinite !== undefined;
    this.#watch?.loss(loss, tellsOthers, this.#sync);
  }

  /** Where a process without a loss could not follow the backward of the others: null in all, if it is null in one. */
  unlessOthersLack(loss: Tensor | null): Tensor | null {
    const gradients = this.#gradients;
    if (gradients?.worstLoss === undefined) return loss;
    const finite = this.#watch?.alarmed === true ? "not finite" : "finite";
    const worst = gradients.worstLoss(loss === null ? "none" : finite);
    if (worst === "none") this.#watch?.batchDropped();
    else if (worst === "not finite") this.#watch?.lossOfAny();
    return worst === "none" ? null : loss;
  }

  /**
   * This process has no loss: it takes part in the exchange of gradients with zeros, by a `backward` of those.
   * `windowOpen`: it has gradients of earlier batches.
   */
  joinOthers(windowOpen: boolean, backward: (zero: Tensor) => void): void {
    const gradients = this.#gradients;
    if (gradients?.noLoss === undefined || !this.#sync) return;
    this.#absent = true;
    try {
      backward(gradients.noLoss(windowOpen));
    } finally {
      this.#absent = false;
    }
    this.othersHadLoss = gradients.anyLoss ?? false;
  }

  /** Around a backward of the scaled loss, which starts from what `backward` is given. */
  backward(scaled: Tensor, backward: (loss: Tensor) => void): void {
    const gradients = this.#gradients;
    if (gradients === null) return backward(scaled);
    const counts = this.#sync && !this.#absent;
    const loss = (counts ? gradients.countLoss?.(scaled, this.#watch?.alarmed !== true) : null) ?? scaled;
    gradients.beforeBackward(loss, this.#sync);
    backward(loss);
    gradients.afterBackward(this.#sync);
  }

  /** Gradients are what they are after the exchange. */
  afterBackward(): void {
    this.#watch?.backwardDone();
    const looks = this.#sync && this.#watch?.everyStep === true;
    if (looks && this.#gradients?.allFinite === false) this.#watch?.lossOfAny();
  }

  /** What an optimizer decides by, such as where to go on: the same in all processes. */
  lossOfAll(loss: Tensor): Tensor {
    const collectives = this.#strategy?.collectives ?? null;
    if (collectives === null) return loss;
    const mean = loss.detach().clone();
    collectives.reduce(mean, "avg");
    return mean;
  }
}
