import { atMost, checkOptions, kinds, NbitError, type OptionNames } from "@nbit/torch";
import type { LightningModule } from "../module.js";
import { partsOf } from "../diagnostics/dry-run.js";
import { formatFindings, LINT_CODES, lintSettings, lintStep } from "../diagnostics/lint.js";
import type { LintCode, LintFinding } from "../diagnostics/lint.js";
import { findingsOfAll } from "../ranks/common-findings.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch } from "../types.js";
import { streamKind, type OutputStream } from "../ui/ansi.js";
import { Callback } from "./callback.js";

export interface PrecisionLintOptions {
  /** Findings end the run with a `PrecisionLintError`. Default false: they are printed. */
  readonly strict?: boolean;
  /** Codes that are fine here. */
  readonly ignore?: readonly LintCode[];
  /** Default `process.stdout`. */
  readonly stream?: OutputStream;
}
const NAMES: OptionNames<PrecisionLintOptions> = {
  strict: kinds.flag,
  ignore: kinds.listOf(kinds.oneOf(...LINT_CODES)),
  stream: streamKind,
};

/** What a strict lint found. */
export class PrecisionLintError extends NbitError {
  readonly findings: readonly LintFinding[];
  constructor(findings: readonly LintFinding[]) {
    super(
      `PrecisionLint: expected no findings. Received: ${findings.length}.\n${formatFindings(findings)}`,
      "ERR_PRECISION_LINT",
    );
    this.findings = findings;
  }
}

/**
 * Looks for what will cost accuracy in 16 bits, before it does.
 *
 * | code | finds | when |
 * |---|---|---|
 * | `LINT_EPS` | an eps that the dtype of its weights makes zero | before training |
 * | `LINT_LEARNING_RATE` | a learning rate whose updates 16-bit weights round away | before training |
 * | `LINT_MANUAL_CAST` | a cast to 16 or 64 bits inside `trainingStep` | first batch |
 * | `LINT_NESTED_AUTOCAST` | an autocast region inside `trainingStep` | first batch |
 * | `LINT_SCATTER` | scatter-like operators and running sums in 16 bits | first batch |
 * | `LINT_LOSS` | a loss computed in 16 bits | first batch |
 *
 * With several processes findings are those of all, exchanged at either time; one that not all have names its ranks.
 *
 * Casts up to float32 and regions with `enabled: false` are remedies, not faults. One dry run is made of the first
 * batch: training goes on as if nobody had looked.
 *
 * @throws {PrecisionLintError} `PrecisionLint: expected no findings. Received: 1. …`, when strict.
 * @example new Trainer({ precision: "bf16", callbacks: [new PrecisionLint({ strict: true })] });
 */
export class PrecisionLint extends Callback {
  readonly #options: PrecisionLintOptions;
  #findings: LintFinding[] = [];
  #looked = false;

  constructor(options: PrecisionLintOptions = {}) {
    super();
    atMost("PrecisionLint", arguments, 1);
    checkOptions("PrecisionLint", options, NAMES);
    this.#options = options;
  }

  /** Of the latest run. */
  get findings(): readonly LintFinding[] {
    return this.#findings;
  }

  override onFitStart(trainer: TrainerView, module: LightningModule): void {
    this.#findings = [];
    this.#looked = false;
    this.#take(lintSettings(module, trainer.optimizers), trainer);
  }

  override onTrainBatchStart(trainer: TrainerView, module: LightningModule, batch: Batch, batchIdx: number): void {
    if (this.#looked) return;
    this.#looked = true;
    this.#take(lintStep(partsOf(trainer, module, batch, batchIdx)), trainer);
  }

  #take(found: readonly LintFinding[], trainer: TrainerView): void {
    const mine = found.filter((f) => this.#options.ignore?.includes(f.code) !== true);
    const { collectives = null } = trainer.strategy;
    const findings = findingsOfAll(collectives, mine, ({ code, place }) => `${code} ${place}`);
    if (findings.length === 0) return;
    this.#findings.push(...findings);
    if (this.#options.strict === true) throw new PrecisionLintError(this.#findings);
    if (trainer.isGlobalZero)
      (this.#options.stream ?? process.stdout).write(
        `precision lint, ${findings.length === 1 ? "1 finding" : `${findings.length} findings`}:\n${formatFindings(findings)}\n`,
      );
  }
}
