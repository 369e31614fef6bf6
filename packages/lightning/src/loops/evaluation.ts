import { outsideScopes } from "@nbit/torch";
import { eachTensor } from "../collections.js";
import { logStates } from "../loggers/states.js";
import type { LogState } from "../loggers/states.js";
import type { Results } from "../logging/results.js";
import { checkDifferent, digestOf } from "../ranks/same-data.js";
import { TemporaryDtype } from "../precision/temporary-dtype.js";
import type { Precision } from "../precision/precision.js";
import { BatchRunner } from "./batch-runner.js";
import { logMetrics } from "./context.js";
import type { LoopContext } from "./context.js";
import type { BatchSource } from "./batch-source.js";
import { loadersOf, sourceOf } from "./combined-fetcher.js";
import type { EvaluationState } from "./evaluation-state.js";
import type { BatchLimit } from "./fetch.js";
import type { LoaderGroup } from "./loader-group.js";
import { inEvaluation } from "./module-modes.js";

export type EvaluationKind = "validate" | "test";

/** The names that differ between validation and testing. */
const NAMES = {
  validate: {
    step: "validationStep",
    limit: "limitValBatches",
    modes: { begin: "onValidationModelEval", end: "onValidationModelTrain" },
    start: "onValidationStart",
    end: "onValidationEnd",
    epochStart: "onValidationEpochStart",
    epochEnd: "onValidationEpochEnd",
    batchStart: "onValidationBatchStart",
    batchEnd: "onValidationBatchEnd",
  },
  test: {
    step: "testStep",
    limit: "limitTestBatches",
    modes: { begin: "onTestModelEval", end: "onTestModelTrain" },
    start: "onTestStart",
    end: "onTestEnd",
    epochStart: "onTestEpochStart",
    epochEnd: "onTestEpochEnd",
    batchStart: "onTestBatchStart",
    batchEnd: "onTestBatchEnd",
  },
} as const;

/** Metrics of one dataloader, by name. */
export type EvaluationResult = Record<string, number>;

export interface EvaluationParts {
  readonly kind: EvaluationKind;
  readonly groups: readonly (LoaderGroup & { readonly mayRepeat?: boolean })[];
  /** Asks for the loaders again. */
  readonly reload?: () => EvaluationParts["groups"];
  readonly limit: BatchLimit;
  readonly results: Results;
  /** Another precision than the run's; null: the run's. */
  readonly precision: Precision | null;
  /** Where the fit around it stands; null outside a fit. */
  readonly fit: { readonly epoch: number; readonly batchesThatStepped: number } | null;
  /** Where the fit around it, or before it, stands; null when there was none. */
  readonly counts: { readonly epoch: number; readonly batchesThatStepped: number } | null;
}

/** Runs the validation or test step over every batch of every loader, in evaluation mode and without gradients. */
export class EvaluationLoop {
  readonly #context: LoopContext;
  readonly #parts: EvaluationParts;
  #fetchers: readonly BatchSource[] = [];
  readonly #runner: BatchRunner;
  /** Weights in the dtype of validation, while it has batches; null where it has no precision of its own. */
  readonly temporaryDtype: TemporaryDtype | null;
  /** Batches seen per loader over all runs: the loggers' step of metrics logged per batch. */
  #seen: number[] = [];
  /** What it was before the present run, should that be begun again. */
  #marked: EvaluationState | null = null;
  #markedLogs: LogState[] = [];
  /** What a checkpoint is to hold instead of the present state. */
  #back: EvaluationState | null = null;
  /** Where the loggers stood before the run to whose beginning it went back; null: it did not. */
  logsBefore: readonly LogState[] | null = null;
  #sanity = false;
  /** Per loader, after limits: the most that a process has. */
  #most: readonly number[] = [];
  /** Per loader: what its first batch was, until processes have compared it. */
  #first: (string | null | undefined)[] = [];
  #logged: Promise<unknown> = Promise.resolve();

  constructor(context: LoopContext, parts: EvaluationParts) {
    const names = NAMES[parts.kind];
    this.#context = context;
    this.#parts = parts;
    this.#use(parts.groups);
    this.temporaryDtype =
      parts.precision === null
        ? null
        : new TemporaryDtype(
            context.module,
            parts.precision.dtypes.parameters,
            (dtype) => context.strategy.castParameters?.(context.module, dtype) ?? false,
          );
    this.#runner = new BatchRunner(context, {
      step: names.step,
      ...(parts.precision === null ? {} : { precision: parts.precision }),
      batchStart: context.hooks.get(names.batchStart),
      batchEnd: context.hooks.get(names.batchEnd),
      inference: parts.fit === null,
      onBatch: (batch, index) => {
        if (this.#first[index] === null) this.#first[index] = digestOf(batch);
        context.metricStore.startBatch(batch, this.#fetchers.length > 1 ? index : null);
      },
      onOutput: (_output, index) => this.#logBatch(index),
    });
  }

  #use(groups: EvaluationParts["groups"]): void {
    const { collectives } = this.#context;
    this.#fetchers = groups.map((group) => sourceOf(group, this.#parts.limit, NAMES[this.#parts.kind].limit));
    this.#seen = groups.map(() => 0);
    const mine = this.#fetchers.map((fetcher) => fetcher.length);
    const all = collectives?.allGatherObject(mine) ?? [mine];
    this.#most = mine.map((_, i) => Math.max(...all.map((lengths) => lengths[i] ?? 0)));
    this.#first = groups.map(({ mayRepeat }) => (collectives !== null && mayRepeat === true ? null : undefined));
  }

  /** From here on with loaders that are asked for anew. */
  reload(): void {
    if (this.#parts.reload !== undefined) this.#use(this.#parts.reload());
  }

  /** One loader, or a list of them. */
  get dataloaders(): unknown {
    return loadersOf(this.#fetchers);
  }

  /** A run begins to which {@link goBack} may lead. */
  mark(): void {
    this.#marked = this.#state();
    this.#markedLogs = logStates(this.#context.loggers);
  }

  /** The run has ended. */
  unmark(): void {
    eachTensor(this.#marked, (tensor) => tensor.dispose());
    this.#marked = null;
  }

  /**
   * The present run does not count: a checkpoint from here on goes on with the whole of it, and metrics of the module's
   * forget what they have seen of it.
   */
  goBack(): void {
    this.#parts.results.reset();
    this.#back = this.#marked;
    this.logsBefore = this.#markedLogs;
    this.#marked = null;
  }

  stateDict(): EvaluationState {
    return this.#back ?? this.#state();
  }

  #state(): EvaluationState {
    return {
      seen: [...this.#seen],
      loaders: this.#fetchers.map((fetcher) => outsideScopes(() => fetcher.loaderState())),
    };
  }

  loadStateDict(state: EvaluationState): void {
    this.#seen = this.#fetchers.map((_, i) => state.seen[i] ?? 0);
    this.#fetchers.forEach((fetcher, i) => fetcher.resumeLoader(state.loaders[i] ?? null, (state.seen[i] ?? 0) > 0));
  }

  /** Per loader, after limits: the most that a process has. */
  get numBatches(): number[] {
    return [...this.#most];
  }

  get numSanityBatches(): number[] {
    return this.numBatches.map((n) => Math.min(n, this.#context.options.numSanityValSteps));
  }

  /** @returns one record of metrics per loader; none when no loader has a batch. */
  async run(sanity: boolean): Promise<EvaluationResult[]> {
    const limits = sanity ? this.numSanityBatches : this.numBatches;
    if (limits.every((n) => n === 0)) return [];
    this.#context.stage = sanity ? "sanity_check" : this.#parts.kind;
    this.#sanity = sanity;
    this.#context.metricStore.activate(this.#parts.results);
    const evaluate = (): Promise<EvaluationResult[]> => this.#evaluate(limits);
    return this.#context.withoutGradients(() => inEvaluation(this.#context, NAMES[this.#parts.kind].modes, evaluate));
  }

  async #evaluate(limits: readonly number[]): Promise<EvaluationResult[]> {
    const { metricStore, hooks } = this.#context;
    const { results, kind } = this.#parts;
    const names = NAMES[kind];
    await hooks.get(names.start).run();
    await hooks.get(names.epochStart).run();

    const perLoader: EvaluationResult[] = [];
    this.temporaryDtype?.apply();
    try {
      for (const [index, fetcher] of this.#fetchers.entries()) {
        // Where this process has no batch of it, others may have some.
        results.startBatch(null, this.#fetchers.length > 1 ? index : null);
        await this.#runner.run(fetcher, index, limits[index] ?? 0, this.#parts.fit?.epoch ?? 0);
        await this.#logged;
        this.#compareFirst(index);
        this.#context.reduceMetrics(false);
        metricStore.endEpoch();
        metricStore.keepLive();
        perLoader.push(this.#sanity ? {} : metricStore.readForLoggers());
      }
    } finally {
      if (this.temporaryDtype !== null) {
        this.temporaryDtype.restore();
        this.#context.strategy.gradients?.parametersChanged?.();
      }
    }
    results.startBatch(null, null);

    await hooks.get(names.epochEnd).run();
    this.#context.reduceMetrics(false);
    metricStore.keepLive();
    const shared = this.#sanity ? {} : metricStore.readForLoggers();
    for (const record of perLoader) Object.assign(record, shared);
    if (!this.#sanity) {
      const all: EvaluationResult = Object.assign({}, ...[...perLoader].reverse());
      await logMetrics(this.#context, all, this.#parts.counts?.batchesThatStepped ?? 0, this.#parts.counts?.epoch ?? 0);
    }

    await hooks.get(names.end).run();
    if (!this.#sanity) this.#context.events?.evaluationEnd(kind, perLoader);
    metricStore.activate(null);
    results.reset();
    return perLoader;
  }

  #compareFirst(index: number): void {
    const mine = this.#first[index];
    if (mine === undefined) return;
    this.#first[index] = undefined;
    checkDifferent(this.#parts.kind, this.#context.collectives?.allGatherObject(mine) ?? []);
  }

  /** Metrics logged with `onStep`, to the loggers, at the number of batches that this loader has given. */
  #logBatch(index: number): void {
    this.#parts.results.endBatch();
    if (this.#sanity || this.#context.loggers.length === 0) return;
    const step = this.#seen[index] ?? 0;
    this.#seen[index] = step + 1;
    const logged = logMetrics(this.#context, this.#context.metricStore.readForLoggers(), step, null);
    if (logged === null) return;
    this.#logged = Promise.all([this.#logged, logged]);
    this.#logged.catch(() => undefined); // heard of when the loader has ended
  }
}
