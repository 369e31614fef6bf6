import { checkOptions, kinds, type OptionNames, Tensor } from "@nbit/torch";
import { MisconfigurationError, misconfigured } from "../errors.js";
import type { WarnOnce } from "../warnings.js";
import { checkLevels } from "./levels.js";
import { Metric } from "@nbit/metrics";
import type { nn } from "@nbit/torch";
import { LoggedMetric } from "./metric.js";
import { attributeOf, LoggedObject, metricAt, type MetricObjectState } from "./metric-object.js";
import type { PendingNumber } from "./pending-number.js";
import type { LogValue, MetricMeta, MetricState, Reduction } from "./metric.js";
import { globalRank } from "@nbit/torch/distributed";
import { isMap, isPlain } from "@nbit/torch/realm";

export interface LogOptions {
  /** Show it in the progress bar. Default false. */
  readonly progBar?: boolean;
  /** Send it to the loggers. Default true. */
  readonly logger?: boolean;
  /** Give the value of each step. The default depends on the hook: true in `trainingStep`, false in evaluation. */
  readonly onStep?: boolean;
  /**
   * Give the reduction over the epoch. The default depends on the hook: false in `trainingStep`, true in evaluation.
   */
  readonly onEpoch?: boolean;
  /** How steps become an epoch's value. A mean is weighted by batch size. Default "mean". */
  readonly reduceFx?: Reduction;
  /** Weight of this batch in a mean. Default: the length of the first tensor found in the batch. */
  readonly batchSize?: number;
  /**
   * Over all processes. Default: values of epochs are, once, at their end, weighted by batch sizes; those of steps are
   * this process's. True: those of steps too, in one exchange per log step for all such metrics. False: neither.
   */
  readonly syncDist?: boolean;
  /** Take what process 0 logs, and nothing of others. Callbacks of other processes do not see it. Default false. */
  readonly rankZeroOnly?: boolean;
  /** With several dataloaders, append `/dataloader_idx_<n>` to the name. Default true. */
  readonly addDataloaderIdx?: boolean;
}
const NAMES: OptionNames<LogOptions> = {
  progBar: kinds.flag,
  logger: kinds.flag,
  onStep: kinds.flag,
  onEpoch: kinds.flag,
  reduceFx: true,
  batchSize: kinds.real("[0, ∞)"),
  syncDist: kinds.flag,
  rankZeroOnly: kinds.flag,
  addDataloaderIdx: kinds.flag,
};

const refuse = misconfigured("log", "ERR_LOG_OPTION");
/** @throws {MisconfigurationError} `log: expected the option progBar. Received: "prog_bar".` */
export function checkLogOptions(options: LogOptions): void {
  checkOptions("log", options, NAMES, (expected, received) => {
    const why = typeof received === "string" && Object.hasOwn(options, received) ? NEEDLESS[received] : undefined;
    return why === undefined
      ? refuse(expected, received)
      : new MisconfigurationError("log", `no ${String(received)}`, received, why, "ERR_LOG_OPTION");
  });
}
/** Arguments of Lightning's `log` that this one has no use for. */
const NEEDLESS: Readonly<Partial<Record<string, string>>> = {
  enableGraph: "What is logged is a number: nothing can be differentiated through it. Keep the tensor itself instead.",
  syncDistGroup:
    "Values are reduced over all processes. Reduce over a group with @nbit/torch/distributed, and log that.",
  metricAttribute: "A metric is known by the name that it is logged under.",
};

const REDUCTIONS: readonly string[] = ["mean", "sum", "min", "max"];

/**
 * For whom a set of values is: callbacks, loggers or the progress bar. They differ in which metrics and names they see.
 */
export type Audience = "callback" | "logger" | "progBar";

/** All metrics logged by one loop (training, validation or testing). */
export class Results {
  readonly metrics = new Map<string, LoggedMetric>();
  /** Metrics that count by themselves. */
  readonly objects = new Map<string, LoggedObject>();
  batch: unknown = null;
  dataloaderIdx: number | null = null;
  #batchSize: number | null = null;

  constructor(
    readonly training: boolean,
    readonly warnings: WarnOnce,
  ) {}

  startBatch(batch: unknown, dataloaderIdx: number | null): void {
    this.batch = batch;
    this.#batchSize = null;
    this.dataloaderIdx = dataloaderIdx;
  }

  endBatch(): void {
    this.batch = null;
    this.#batchSize = null;
  }

  log(
    hook: string,
    name: string,
    value: LogValue | PendingNumber,
    options: LogOptions,
    module: nn.Module | null = null,
  ): void {
    if (options.rankZeroOnly === true && globalRank() !== 0) return;
    const dataloaderIdx = options.addDataloaderIdx === false ? null : this.dataloaderIdx;
    const key = keyOf({ hook, name, dataloaderIdx });
    if (value instanceof Metric)
      return this.#logObject(key, makeMeta(hook, name, dataloaderIdx, options), value, module);
    let metric = this.metrics.get(key);
    if (metric === undefined) {
      metric = new LoggedMetric(makeMeta(hook, name, dataloaderIdx, options));
      this.metrics.set(key, metric);
    } else checkSame(metric.meta, options);
    const { meta } = metric;
    const weigh = meta.reduceFx === "mean" && (meta.onEpoch || meta.syncDist === true);
    metric.update(value, weigh ? (options.batchSize ?? this.#inferBatchSize()) : 1);
  }

  #logObject(key: string, meta: MetricMeta, metric: Metric, module: nn.Module | null): void {
    let logged = this.objects.get(key);
    if (logged === undefined || logged.metric !== metric) {
      const attribute = module === null ? meta.name : attributeOf(module, metric, meta.name);
      this.objects.set(key, (logged = new LoggedObject(meta, metric, attribute)));
    }
    logged.update();
  }

  #inferBatchSize(): number {
    if (this.#batchSize === null) this.#batchSize = this.batch === null ? 1 : batchSizeOf(this.batch, this.warnings);
    return this.#batchSize;
  }

  /** Calls `take(name, read)` for each value that `audience` sees: those of this step, or of the whole epoch. */
  each(audience: Audience, onStep: boolean, take: (name: string, read: () => number) => void): void {
    this.eachMetric(audience, onStep, (name, metric) =>
      take(name, onStep ? () => metric.step() : () => metric.epoch()),
    );
  }
  eachMetric(
    audience: Audience,
    onStep: boolean,
    take: (name: string, metric: LoggedMetric | LoggedObject) => void,
  ): void {
    for (const metric of [...this.metrics.values(), ...this.objects.values()]) {
      const { meta } = metric;
      if (
        !metric.hasValue ||
        (meta.dataloaderIdx !== this.dataloaderIdx && meta.dataloaderIdx !== null) ||
        !this.#isFor(audience, onStep, meta)
      )
        continue;
      const suffix = meta.dataloaderIdx === null ? "" : `/dataloader_idx_${meta.dataloaderIdx}`;
      const forked =
        meta.onStep && meta.onEpoch ? `${meta.name}${onStep ? "_step" : "_epoch"}${suffix}` : meta.name + suffix;
      if (audience === "callback" && forked !== meta.name + suffix) take(meta.name + suffix, metric);
      take(forked, metric);
    }
  }

  #isFor(
    audience: Audience,
    onStep: boolean,
    { logger, progBar, onStep: ofStep, onEpoch: ofEpoch }: MetricMeta,
  ): boolean {
    if (onStep ? !ofStep : !ofEpoch) return false;
    if (audience === "logger") return logger;
    if (audience === "progBar") return progBar;
    return this.training || (!onStep && ofEpoch);
  }

  /** The metric of a key, made where this process has not logged it. */
  entry(key: string, meta: MetricMeta): LoggedMetric {
    let metric = this.metrics.get(key);
    if (metric === undefined) this.metrics.set(key, (metric = new LoggedMetric(meta)));
    return metric;
  }

  /** The metric of a key that counts by itself, found in the module where this process has not logged it. */
  object(key: string, meta: MetricMeta, attribute: string, module: nn.Module): LoggedObject | null {
    const logged = this.objects.get(key);
    const metric = logged?.metric ?? metricAt(module, attribute);
    if (metric === null) return null;
    const found = logged ?? new LoggedObject(meta, metric, attribute);
    found.hasValue = true;
    this.objects.set(key, found);
    return found;
  }

  /** @param forget - Whether metrics that count by themselves begin anew too. */
  reset(forget = true): void {
    for (const metric of this.metrics.values()) metric.reset();
    for (const logged of this.objects.values()) logged.reset(forget);
  }

  stateDict(): MetricState[] {
    return [...this.metrics.values()].filter((m) => m.isOwn).map((m) => m.stateDict());
  }

  /** States of the metrics that count by themselves. */
  objectStates(): MetricObjectState[] {
    return [...this.objects.values()].filter((logged) => logged.hasValue).map((logged) => logged.stateDict());
  }
  /** Those that the module does not have any more are left out. */
  loadObjectStates(states: readonly MetricObjectState[], module: nn.Module): void {
    for (const state of states) {
      const metric = metricAt(module, state.attribute);
      if (metric === null) continue;
      const logged = new LoggedObject(state.meta, metric, state.attribute);
      logged.loadStateDict(state);
      this.objects.set(keyOf(state.meta), logged);
    }
  }

  loadStateDict(states: readonly MetricState[]): void {
    this.reset();
    for (const state of states) {
      const metric = new LoggedMetric(state.meta);
      metric.loadStateDict(state);
      this.metrics.set(keyOf(state.meta), metric);
    }
  }
}

export function keyOf({ hook, name, dataloaderIdx }: Pick<MetricMeta, "hook" | "name" | "dataloaderIdx">): string {
  return dataloaderIdx === null ? `${hook}.${name}` : `${hook}.${name}.${dataloaderIdx}`;
}

function makeMeta(hook: string, name: string, dataloaderIdx: number | null, options: LogOptions): MetricMeta {
  if (typeof name !== "string")
    throw new MisconfigurationError("log", "name to be a string", name, undefined, "ERR_LOG_NAME");
  const { onStep, onEpoch } = checkLevels(hook, options.onStep, options.onEpoch);
  const reduceFx = options.reduceFx ?? "mean";
  if (!REDUCTIONS.includes(reduceFx)) {
    throw new MisconfigurationError(
      "log",
      'reduceFx to be "mean", "sum", "min" or "max"',
      reduceFx,
      undefined,
      "ERR_LOG_REDUCTION",
    );
  }
  if (name.includes("/dataloader_idx_") && options.addDataloaderIdx !== false) {
    throw new MisconfigurationError(
      "log",
      "a name without a dataloader index, which is appended by itself",
      name,
      "Remove it, or pass addDataloaderIdx: false.",
      "ERR_LOG_NAME",
    );
  }
  if (options.rankZeroOnly === true && options.syncDist === true)
    throw new MisconfigurationError(
      "log",
      "syncDist or rankZeroOnly, not both",
      options,
      "What only process 0 has cannot be reduced over all.",
      "ERR_LOG_OPTION",
    );
  return {
    hook,
    name,
    ...(options.syncDist === undefined ? {} : { syncDist: options.syncDist }),
    ...(options.rankZeroOnly === true ? { rankZeroOnly: true } : {}),
    progBar: options.progBar ?? false,
    logger: options.logger ?? true,
    onStep,
    onEpoch,
    reduceFx,
    dataloaderIdx,
  };
}

function checkSame(meta: MetricMeta, options: LogOptions): void {
  if (
    (options.progBar ?? false) !== meta.progBar ||
    (options.logger ?? true) !== meta.logger ||
    (options.reduceFx ?? "mean") !== meta.reduceFx ||
    options.syncDist !== meta.syncDist ||
    (options.rankZeroOnly ?? false) !== (meta.rankZeroOnly ?? false) ||
    (options.onStep !== undefined && options.onStep !== meta.onStep) ||
    (options.onEpoch !== undefined && options.onEpoch !== meta.onEpoch)
  ) {
    throw new MisconfigurationError(
      "log",
      `the same options in every call for ${JSON.stringify(meta.name)} in ${meta.hook}`,
      options,
      "Use another name, or the same options.",
      "ERR_LOG_OPTIONS",
    );
  }
}

/** The length of the first dimension of the first tensor found; scalars count 1. */
export function batchSizeOf(batch: unknown, warnings: WarnOnce): number {
  let found: number | null = null;
  let ambiguous = false;
  const visit = (value: unknown): void => {
    if (ambiguous) return;
    if (value instanceof Tensor) {
      const size = value.ndim === 0 ? 1 : (value.shape[0] ?? 1);
      if (found === null) found = size;
      else if (found !== size) ambiguous = true;
    } else if (Array.isArray(value)) value.forEach(visit);
    else if (isMap(value)) for (const item of value.values()) visit(item);
    else if (isPlain(value)) for (const key of Object.keys(value)) visit(value[key]);
  };
  visit(batch);
  if (found === null) {
    throw new MisconfigurationError(
      "log",
      "a tensor in the batch, to weigh it in the epoch's mean",
      batch,
      "Pass batchSize to log.",
      "ERR_LOG_BATCH_SIZE",
    );
  }
  if (ambiguous) {
    warnings.warnOfThisRank(
      "WARN_LOG_BATCH_SIZE",
      `log: the batch holds tensors of different lengths; ${found} was taken as its size. Pass batchSize to log.`,
    );
  }
  return found;
}
