import { defaultGenerator, Generator, noGrad, optim, outsideScopes, scope, zeros } from "@nbit/torch";
import type { Device, Tensor } from "@nbit/torch";
import type { LightningModule } from "../module.js";
import { scalingOf } from "../precision/former-names.js";
import type { LossScaling } from "../precision/loss-scaling.js";
import type { Precision } from "../precision/precision.js";
import type { RngState } from "../rng.js";
import { explainLoss } from "../diagnostics/loss-errors.js";
import { explainNonFinite, NonFiniteError } from "../diagnostics/non-finite.js";
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
  /** Processes hold shares of gradients. */
  readonly sharded?: boolean;
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
 * Costs per step: on CPU a copy of the generator and one number read, a few microseconds. On CUDA one small kernel that
 * raises a flag, which is read at log steps; by then weights may be gone, and the error says so.
 */
export class NonFiniteWatch {
  readonly #parts: NonFiniteWatchParts;
  readonly #scaling: LossScaling;
  readonly #everyStep: boolean;
  readonly #memory: { readonly source: Generator; readonly copy: Generator }[];
  #flag: Tensor | null = null;
  #batch: Batch = null;
  #batchIdx = 0;
  #divisor = 1;
  /** A loss that is not finite, of a backward that is still to come. */
  #suspect: number | null = null;
  /** Skipped steps that were counted at the latest log step. */
  #skipped: number;

  constructor(parts: NonFiniteWatchParts) {
    this.#parts = parts;
    this.#scaling = scalingOf(parts.precision);
    this.#skipped = this.#scaling.skippedSteps;
    const onCpu = parts.device.type === "cpu";
    this.#everyStep = onCpu || parts.mode !== "loss";
    const sources = !this.#everyStep
      ? []
      : onCpu
        ? [defaultGenerator]
        : [defaultGenerator, new Generator(parts.device, true)];
    this.#memory = sources.map((source) => ({ source, copy: new Generator(source.device) }));
  }

  /** A step begins: from here its random numbers are drawn. */
  begin(batch: Batch, batchIdx: number, divisor: number): void {
    this.#batch = batch;
    this.#batchIdx = batchIdx;
    this.#divisor = divisor;
    for (const { source, copy } of this.#memory) copy.copyFrom(source);
  }

  end(): void {
    this.#batch = null;
  }

  /**
   * Under a scale that moves a step that overflows is skipped: there backward tells whether the loss was of that kind.
   */
  loss(loss: Tensor): void {
    if (!this.#everyStep) return this.#raise(loss);
    const value = valueOf(loss);
    if (Number.isFinite(value)) return;
    if (!this.#scaling.skipsOverflow) throw this.#badLoss(value);
    this.#suspect = value;
  }
  #badLoss(value: number): NonFiniteError {
    return this.#error(`expected a finite loss. Received: ${Number.isNaN(value) ? "NaN" : value}`);
  }

  /** A backward is over. A loss that was not finite and left finite gradients is none that skipping would cure. */
  backwardDone(): void {
    const suspect = this.#suspect;
    if (suspect === null) return;
    this.#suspect = null;
    // Where gradients are shared out, what is not finite may be with another process.
    if (this.#parts.sharded === true) return;
    if (this.#nonFiniteGradients().length === 0) throw this.#badLoss(suspect);
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
    if (mode !== "gradients" || this.#scaling.skipsOverflow) return;
    const names = this.#nonFiniteGradients();
    if (names.length > 0)
      throw this.#error(
        `expected finite gradients. Received: gradients that are not, of ${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`,
      );
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

  /** At a log step. Waits for the device, where the flag is there. */
  read(batch: Batch, batchIdx: number): void {
    const count = this.#flag?.item() ?? 0;
    if (count === 0) return;
    this.#flag?.zero_();
    if (this.#explainedBySkips(count)) return;
    this.lookAt(batch, batchIdx);
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
    const { text, fix, origin, parameters } = this.#explain();
    return new NonFiniteError(`${error.message} ${text} ${fix}`, origin, parameters, error.code, { cause: error });
  }

  #error(what: string, more = ""): NonFiniteError {
    const { progress, precision } = this.#parts;
    const { text, fix, origin, parameters } = this.#explain();
    const message = `fit: ${what}, at step ${progress.globalStep} (epoch ${progress.epoch}, batch ${this.#batchIdx}), precision "${precision.name}". ${text} ${fix}${more} (detectNonFinite: false goes on regardless.)`;
    return new NonFiniteError(message, origin, parameters);
  }

  #explain(): ReturnType<typeof explainNonFinite> {
    const { module, precision, device, sharded } = this.#parts;
    if (sharded === true)
      return {
        origin: null,
        parameters: [],
        inBatch: false,
        text: "The step is not replayed, since this process has but a share of the parameters.",
        fix: 'Look for it in one process, or with strategy "ddp".',
      };
    const [cpu, other] = this.#memory;
    const rng: RngState | null =
      cpu === undefined ? null : { cpu: cpu.copy.getState(), device: other?.copy.getState() ?? null };
    return explainNonFinite({
      module,
      precision,
      device,
      batch: this.#batch,
      batchIdx: this.#batchIdx,
      divisor: this.#divisor,
      ...(rng === null ? {} : { rng }),
    });
  }
}
