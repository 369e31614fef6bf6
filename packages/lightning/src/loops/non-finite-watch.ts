import { defaultGenerator, Generator, noGrad, optim, outsideScopes, scope, zeros } from "@nbit/torch";
import type { Device, Tensor } from "@nbit/torch";
import { withoutCollectives } from "@nbit/torch/distributed";
import type { LightningModule } from "../module.js";
import { scalingOf } from "../precision/former-names.js";
import type { LossScaling } from "../precision/loss-scaling.js";
import type { Precision } from "../precision/precision.js";
import type { RngState } from "../rng.js";
import { explainLoss } from "../diagnostics/loss-errors.js";
import { explainNonFinite, NonFiniteError, type NonFiniteFinding } from "../diagnostics/non-finite.js";
import {
  overflowInWords,
  shareBadLosses,
  shareOverflow,
  type BadLoss,
  type CommonOverflow,
} from "../ranks/overflows.js";
import type { Collectives, Strategy } from "../strategies/strategy.js";
import type { Batch } from "../types.js";
import type { FitProgress } from "./progress.js";

/**
 * true: the loss, on CPU in every step, elsewhere at log steps. "step": the loss in every step, waiting for the device.
 * "gradients": gradients too.
 */
export type DetectNonFinite = boolean | "step" | "gradients";

export interface NonFiniteWatchParts {
  readonly module: LightningModule;
  readonly precision: Precision;
  readonly device: Device;
  readonly progress: FitProgress;
  readonly mode: "loss" | "step" | "gradients";
  /** Null: this process trains alone. */
  readonly strategy?: Strategy | null;
}

function valueOf(loss: Tensor): number {
  try {
    return loss.item();
  } catch (error) {
    throw explainLoss(error, loss);
  }
}

/**
 * Notices when a loss (or a gradient) is NaN or infinite, before the optimizer has spread it, and finds where it began
 * by replaying the step.
 *
 * Costs per step: on CPU a copy of the generator and one number read, less than a microsecond. On CUDA one small kernel that
 * raises a flag, which is read at log steps; by then weights may be gone, and the error says so.
 */
export class NonFiniteWatch {
  readonly #parts: NonFiniteWatchParts;
  readonly #scaling: LossScaling;
  /** Losses are read in every step. */
  readonly everyStep: boolean;
  /**
   * Skipped steps are replayed, to find the process that overflowed. By request, since the program's step method is
   * called once more for it.
   */
  readonly #replaysSkips: boolean;
  readonly #memory: { readonly source: Generator; readonly copy: Generator }[];
  #flag: Tensor | null = null;
  #batch: Batch = null;
  #batchIdx = 0;
  #divisor = 1;
  /** A loss that is not finite, of a backward that is still to come. */
  #suspect: number | null = null;
  readonly #collectives: Collectives | null;
  /** Processes hold shares of gradients. */
  readonly #sharded: boolean;
  /** This batch ends its window. */
  #windowEnds = true;
  /** What an earlier batch of the window overflowed in: of this process alone, or of all. */
  #alone: NonFiniteFinding | null = null;
  #common: CommonOverflow | null = null;
  /** A loss of this process that is not finite, of which all are still to hear. */
  #alarm: BadLoss | null = null;
  /** Some process had one, under a scale that skips what overflows. */
  #anySuspect = false;
  /** Of the batch that was skipped now. */
  #latest: CommonOverflow | null = null;
  /** Skipped steps that were counted at the latest log step. */
  #skipped: number;

  constructor(parts: NonFiniteWatchParts) {
    this.#parts = parts;
    this.#scaling = scalingOf(parts.precision);
    this.#skipped = this.#scaling.skippedSteps;
    this.#collectives = parts.strategy?.collectives ?? null;
    this.#sharded = parts.strategy?.stateDict !== undefined;
    const onCpu = parts.device.type === "cpu";
    this.everyStep = onCpu || parts.mode !== "loss";
    this.#replaysSkips = parts.mode !== "loss";
    const sources = !this.everyStep
      ? []
      : onCpu
        ? [defaultGenerator]
        : [defaultGenerator, new Generator(parts.device, true)];
    this.#memory = sources.map((source) => ({ source, copy: new Generator(source.device) }));
  }

  /** A step begins: from here its random numbers are drawn. */
  begin(batch: Batch, batchIdx: number, divisor: number, windowEnds = true): void {
    this.#windowEnds = windowEnds;
    this.#latest = null;
    this.#batch = batch;
    this.#batchIdx = batchIdx;
    this.#divisor = divisor;
    for (const { source, copy } of this.#memory) copy.copyFrom(source);
  }

  end(): void {
    this.#batch = null;
    if (!this.#windowEnds) return;
    this.#alone = this.#common = this.#alarm = null;
    this.#anySuspect = false;
  }

  /**
   * Under a scale that moves a step that overflows is skipped: there backward tells whether the loss was of that kind.
   *
   * @param tellsOthers - Of several processes, {@link lossOfAny} follows in all when gradients are exchanged.
   * @param exchanges - Which is in this batch.
   */
  loss(loss: Tensor, tellsOthers = false, exchanges = true): void {
    if (!this.everyStep) return this.#raise(loss);
    const value = valueOf(loss);
    if (Number.isFinite(value)) return;
    if (tellsOthers && this.#collectives !== null) {
      // Of an earlier batch of a window all hear at its end, and it can be replayed only now.
      this.#alarm ??= {
        value,
        batchIdx: this.#batchIdx,
        finding: exchanges || this.#sharded ? null : this.#byItself(),
      };
      return;
    }
    if (!this.#scaling.skipsOverflow) throw this.#badLoss(value);
    this.#suspect = value;
  }
  /** This process has a loss that is not finite to tell of. */
  get alarmed(): boolean {
    return this.#alarm !== null;
  }
  /** There is no backward. */
  batchDropped(): void {
    this.#alarm = null;
  }
  /** All processes hear that the loss of one is not finite: all do the same. */
  lossOfAny(): void {
    if (!this.#scaling.skipsOverflow) throw this.#badLosses();
    this.#anySuspect = true;
  }
  #badLosses(more = ""): NonFiniteError {
    const [first, ...others] = shareBadLosses(this.#group, this.#alarm, this.#replay(true));
    if (first === undefined) throw new Error("no process has a loss that is not finite");
    const { value, rank, batchIdx, text, fix, origin, parameters } = first;
    const also = others.length === 0 ? "" : `, and on rank ${others.map((other) => other.rank).join(", ")}`;
    const what = `expected a finite loss. Received: ${value} on rank ${rank}${also}`;
    const message = this.#message(what, `${text} ${fix}${more}`, batchIdx);
    return new NonFiniteError(message, origin, parameters, "ERR_NON_FINITE", {}, rank);
  }
  get #group(): Collectives {
    if (this.#collectives === null) throw new Error("one process has no others");
    return this.#collectives;
  }

  #badLoss(value: number): NonFiniteError {
    return this.#error(`expected a finite loss. Received: ${Number.isNaN(value) ? "NaN" : value}`);
  }

  /** A backward is over. A loss that was not finite and left finite gradients is none that skipping would cure. */
  backwardDone(): void {
    if (!this.#windowEnds && this.#collectives !== null && this.#scaling.overflowing) this.#noteEarly();
    const suspect = this.#suspect;
    if (suspect === null) return;
    this.#suspect = null;
    // Where gradients are shared out, what is not finite may be with another process.
    if (this.#sharded) return;
    if (this.#nonFiniteGradients().length === 0) throw this.#badLoss(suspect);
  }

  /** Within a window: its later batches are replayed without this one. */
  #noteEarly(): void {
    if (!this.#replaysSkips || this.#alone !== null || this.#common !== null) return;
    // All know of it where they tell each other what they found of shares.
    if (this.#parts.strategy?.reduceFoundInf == null) this.#alone = this.#byItself();
    else this.#common = this.afterSkip([]);
  }

  /**
   * All processes skip a step: with `"step"` and `"gradients"` each replays it, and they tell each other what they
   * found. Null: this one trains alone.
   *
   * @param nonFinite - Parameters of this process whose gradients are not finite.
   * @param lossScale - What the loss was multiplied by, where that has changed meanwhile.
   */
  afterSkip(nonFinite: readonly string[], lossScale?: number): CommonOverflow | null {
    const collectives = this.#collectives;
    return collectives === null ? null : (this.#latest = this.#ofAll(collectives, nonFinite, lossScale));
  }
  #ofAll(
    collectives: Collectives,
    nonFinite: readonly string[],
    lossScale?: number,
    replays = this.#replaysSkips,
  ): CommonOverflow {
    const names = [...this.#parts.module.namedParameters()].map(([name]) => name);
    const before = this.#common;
    // Known in all alike; what one knows alone the others do not, and their replay may need this process.
    const now = before === null && replays ? this.#replay(true, lossScale) : null;
    const found = shareOverflow(collectives, this.#alone ?? now, nonFinite, names);
    if (!replays) return { ...found, ranks: null };
    return before === null ? found : { ...found, ranks: before.ranks };
  }

  #nonFiniteGradients(): string[] {
    const { module, precision } = this.#parts;
    const names: string[] = [];
    scope(() => {
      for (const [name, parameter] of module.namedParameters()) {
        const gradient = precision.gradients.of(parameter);
        if (gradient !== null && !optim.isFiniteGradient(gradient)) names.push(name);
      }
    });
    return names;
  }

  /** Gradients are complete and unscaled. */
  gradients(): void {
    const { mode } = this.#parts;
    if (this.#anySuspect) {
      this.#anySuspect = false;
      if (this.#overflowedNot()) throw this.#badLosses();
    }
    if (mode !== "gradients" || this.#scaling.skipsOverflow) return;
    const mine = this.#nonFiniteGradients();
    // Who has no share of them does not see them.
    const any = this.#sharded ? this.#group.agree(mine.length > 0) : mine.length > 0;
    if (!any) return;
    const common = this.afterSkip(mine);
    const names = common?.nonFinite ?? mine;
    const what = `expected finite gradients. Received: gradients that are not, of ${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`;
    if (common === null) throw this.#error(what);
    const [first] = common.ranks ?? [];
    const message = this.#message(what, overflowInWords(common.ranks ?? []));
    throw new NonFiniteError(message, first?.origin ?? null, [], "ERR_NON_FINITE", {}, first?.rank ?? null);
  }

  /** A loss was not finite, and gradients are: nothing that skipping would cure. False where nobody can tell. */
  #overflowedNot(): boolean {
    if (this.#sharded) return !this.#scaling.readsLate && !this.#scaling.overflowing;
    return this.#nonFiniteGradients().length === 0;
  }

  #raise(loss: Tensor): void {
    noGrad(() => {
      this.#flag ??= outsideScopes(() => zeros([], { dtype: "int32", device: this.#parts.device }));
      this.#flag.add_(loss.detach().isfinite().all().logicalNot());
    });
  }

  /** An error that is noticed after its step: this is the batch to replay. */
  lookAt(batch: Batch, batchIdx: number): void {
    this.#batch = batch;
    this.#batchIdx = batchIdx;
  }

  /** At a log step: a loss since the last one was not finite, and no skip accounts for it. Waits for the device. */
  get sawBadLoss(): boolean {
    const count = this.#flag?.item() ?? 0;
    if (count === 0) return false;
    this.#flag?.zero_();
    return !this.#explainedBySkips(count);
  }
  /** That is so, in this process alone or in some of several: all do the same. */
  badLossSeen(here: boolean): never {
    if (this.#collectives !== null) {
      if (here) this.#alarm ??= { value: NaN, batchIdx: this.#batchIdx, finding: null };
      throw this.#badLosses(' Pass detectNonFinite: "step" to stop at the step itself.');
    }
    throw this.#error(
      "expected finite losses. Received: one since the last log step that was not",
      ' Pass detectNonFinite: "step" to stop at the step itself.',
    );
  }

  /** Losses that are not finite belong to skipped steps, as many as a window has batches to each. */
  #explainedBySkips(losses: number): boolean {
    if (!this.#scaling.skipsOverflow) return false;
    const skipped = this.#scaling.skippedSteps;
    const since = skipped - this.#skipped;
    this.#skipped = skipped;
    return losses <= since * this.#divisor;
  }

  /** The loss scale is at its floor and gradients still are not finite: the same error, with where that began. */
  atFloor(error: { readonly message: string; readonly code: string }): NonFiniteError {
    const { code } = error;
    if (this.#collectives === null) {
      const { text, fix, origin, parameters } = this.#replay(false);
      return new NonFiniteError(`${error.message} ${text} ${fix}`, origin, parameters, code, { cause: error });
    }
    // Nothing is trained after this: it is looked into whatever was asked for.
    const ranks = this.#latest?.ranks ?? this.#ofAll(this.#collectives, [], undefined, true).ranks ?? [];
    const [first] = ranks;
    const message = `${error.message} ${overflowInWords(ranks)}`;
    return new NonFiniteError(message, first?.origin ?? null, [], code, { cause: error }, first?.rank ?? null);
  }

  #error(what: string, more = ""): NonFiniteError {
    const { text, fix, origin, parameters } = this.#byItself();
    return new NonFiniteError(this.#message(what, `${text} ${fix}${more}`), origin, parameters);
  }

  #message(what: string, why: string, batchIdx = this.#batchIdx): string {
    const { progress, precision } = this.#parts;
    const where = `at step ${progress.globalStep} (epoch ${progress.epoch}, batch ${batchIdx}), precision "${precision.name}"`;
    return `fit: ${what}, ${where}. ${why} (detectNonFinite: false goes on regardless.)`;
  }

  /** Others are elsewhere: nothing is sent. */
  #byItself(): NonFiniteFinding {
    if (this.#collectives === null) return this.#replay(false);
    if (!this.#sharded) return withoutCollectives(() => this.#replay(false));
    return {
      origin: null,
      parameters: [],
      gradients: [],
      inBatch: false,
      fromOthers: false,
      text: "The step is not replayed, since this process has but a share of the parameters.",
      fix: 'Look for it in one process, or with strategy "ddp".',
    };
  }

  /** `together`: every process does. */
  #replay(together: boolean, lossScale?: number): NonFiniteFinding {
    const { module, precision, device, strategy = null } = this.#parts;
    const [cpu, other] = this.#memory;
    const rng: RngState | null =
      cpu === undefined ? null : { cpu: cpu.copy.getState(), device: other?.copy.getState() ?? null };
    const parts = {
      module,
      precision,
      device,
      strategy,
      batch: this.#batch,
      batchIdx: this.#batchIdx,
      divisor: this.#divisor,
      ...(lossScale === undefined ? {} : { lossScale }),
      ...(rng === null ? {} : { rng }),
    };
    return explainNonFinite(parts, together);
  }
}
