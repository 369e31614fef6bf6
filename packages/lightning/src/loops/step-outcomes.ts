import { NbitError } from "@nbit/torch";
import type { Device, optim, Tensor } from "@nbit/torch";
import { graphsOf, scalingOf } from "../precision/former-names.js";
import type { LossScaling } from "../precision/loss-scaling.js";
import type { Precision, PrecisionStep } from "../precision/precision.js";
import type { Batch, StepOutcome } from "../types.js";
import type { NonFiniteWatch } from "./non-finite-watch.js";
import { checkSameScale, type RankNews } from "../ranks/news.js";
import { LateNorms, Outcome, ScaleInForce } from "./outcome.js";

/** What batches of training did: steps and skipped ones, the loss scale and its updates, norms of gradients. */
export class StepOutcomes {
  readonly #precision: Precision;
  readonly #scaling: LossScaling;
  readonly #watch: NonFiniteWatch | null;
  /** Nothing waits for a device when its numbers are read at once. */
  readonly #readsNow: boolean;
  readonly #norms: LateNorms | "kept" | null;
  /** Of the latest batch. */
  #outcome = new Outcome();
  /** Those that stepped, or were skipped, since the scale was last updated. */
  readonly #stepped = new Set<optim.Optimizer>();
  #scaleInForce: ScaleInForce | null = null;
  /** There are no other processes. */
  readonly #alone: boolean;

  /** `compiled`: steps become programs of another device; nothing is read while one is recorded. */
  constructor(
    precision: Precision,
    watch: NonFiniteWatch | null,
    device: Device | undefined,
    { alone = true, compiled = false } = {},
  ) {
    this.#alone = alone;
    this.#precision = precision;
    this.#scaling = scalingOf(precision);
    this.#watch = watch;
    this.#readsNow = !compiled && device?.type === "cpu" && !this.#scaling.readsLate;
    if (compiled) this.#norms = "kept";
    else this.#norms = this.#readsNow || device === undefined ? null : new LateNorms(device);
  }

  begin(): void {
    this.#outcome = new Outcome();
  }

  gradNorm(norm: Tensor): void {
    this.#outcome.gradNormIs(norm, this.#norms);
  }

  /** The optimizer has stepped, or was skipped. */
  add(optimizer: optim.Optimizer, step: PrecisionStep): void {
    this.#stepped.add(optimizer);
    this.#outcome.add(step);
    this.#scaleInForce?.endedBy(step);
    this.#scaleInForce = null;
  }

  /** A second step of one optimizer in one batch starts over. */
  beforeStep(optimizer: optim.Optimizer): void {
    if (this.#stepped.has(optimizer)) this.#update();
  }

  /** The batch is over: one update of the loss scale, however many optimizers stepped. */
  end(): Outcome {
    if (!this.#alone && this.#readsNow && this.#outcome.skipped) this.#findRanks();
    if (this.#stepped.size > 0) this.#update();
    else
      this.#outcome.scaleIs(
        this.#readsNow ? this.#scaleNow() : (this.#scaleInForce ??= new ScaleInForce(this.#scaleNow)),
      );
    return this.#outcome;
  }
  /** Several processes skip: they find out together whose values it was for. */
  #findRanks(lossScale?: number): void {
    const common = this.#watch?.afterSkip(this.#outcome.nonFinite ?? [], lossScale) ?? null;
    if (common !== null) this.#outcome.ofAll(common);
  }
  /**
   * After a batch, at log steps: the same where what became of the step is still on the device. Waits for it. Not of a
   * batch that a graph has replayed.
   */
  findRanks(outcome: StepOutcome | null, batch: Batch, batchIdx: number): void {
    if (this.#alone || this.#readsNow || outcome !== this.#outcome || !outcome.skipped) return;
    this.#watch?.lookAt(batch, batchIdx);
    this.#findRanks(outcome.lossScale);
  }
  readonly #scaleNow = (): number => this.#precision.lossScale ?? 1;

  #update(): void {
    const stepped = [...this.#stepped];
    this.#stepped.clear();
    try {
      this.#precision.update(stepped);
    } catch (error) {
      throw this.#withOrigin(error);
    }
  }

  /** The scale is at its floor: with where the overflow began, when somebody looks out for that. */
  #withOrigin(error: unknown): unknown {
    return this.#watch !== null && error instanceof NbitError && error.code === "LOSS_SCALE_FLOOR"
      ? this.#watch.atFloor(error)
      : error;
  }

  /**
   * After a window. At log steps (`due`) reads what was seen of NaN and what became of the scale, where that is still
   * on the device.
   */
  check(batch: Batch, batchIdx: number, due: boolean): void {
    if (due) {
      this.#watch?.lookAt(batch, batchIdx);
      // Several processes tell each other with the metrics.
      if (this.#alone && this.#watch?.sawBadLoss === true) this.#watch.badLossSeen(true);
    }
    try {
      this.#scaling.checkOutcome(due);
    } catch (error) {
      this.#watch?.lookAt(batch, batchIdx);
      throw this.#withOrigin(error);
    }
  }

  /** What this process tells the others with the metrics of a log step. Waits for the device. */
  news(): RankNews {
    return { lossScale: this.#scaling.scale, badLoss: this.#watch?.sawBadLoss ?? false };
  }
  /**
   * What all told, in the order of ranks.
   * @throws {NbitError} ERR_DIST_LOSS_SCALE where scales differ.
   */
  heard(all: readonly (RankNews | null)[], rank: number, step: number): void {
    checkSameScale(all, step);
    if (all.some((one) => one?.badLoss === true)) this.#watch?.badLossSeen(all[rank]?.badLoss === true);
  }

  /** Before a recording, which must not be interrupted: read what earlier steps left on the device. */
  beginReplays(): void {
    if (this.#norms instanceof LateNorms) this.#norms.readAll();
    graphsOf(this.#precision).beginReplays();
  }
}
