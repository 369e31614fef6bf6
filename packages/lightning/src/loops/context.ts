import { isPromise, named } from "../promises.js";
import type { Transferring, TransferHook } from "../data-hooks.js";
import type { RunEvents } from "../events/run-events.js";
import type { Hooks } from "../hooks.js";
import type { MetricStore } from "../logging/metric-store.js";
import type { Logger } from "../loggers/logger.js";
import type { LightningModule, ModuleHost } from "../module.js";
import type { NewsOfRanks } from "../ranks/news.js";
import type { Precision } from "../precision/precision.js";
import type { CompiledForwards } from "./compiled-forwards.js";
import type { Profiling } from "../profilers/profiling.js";
import type { Collectives, Strategy } from "../strategies/strategy.js";
import type { ResolvedOptions } from "../resolve-options.js";
import type { Batch, RunningStage, StepOutcome } from "../types.js";
import type { WarnOnce } from "../warnings.js";

/** What every loop of one run works with. */
export interface LoopContext {
  readonly module: LightningModule;
  /** Whose hooks change and move batches. */
  readonly data: Transferring;
  readonly host: ModuleHost;
  readonly hooks: Hooks;
  readonly precision: Precision;
  readonly strategy: Strategy;
  readonly metricStore: MetricStore;
  readonly loggers: readonly Logger[];
  readonly options: ResolvedOptions;
  readonly warnings: WarnOnce;
  /** Steps that do not train, compiled for another device; null: they run where the tensors are. */
  readonly forwards: CompiledForwards | null;
  /** Null or left out: nothing is profiled. */
  readonly profiling?: Profiling | null;
  /** Left out: nobody is told. */
  readonly events?: RunEvents;
  stage: RunningStage | null;
  readonly shouldStop: boolean;
  /** Hooks run without gradients until `fn` is done; steps see to that themselves. */
  withoutGradients<T>(fn: () => Promise<T>): Promise<T>;
  /** Of several processes; null: this one runs alone. */
  readonly collectives: Collectives | null;
  /** Throws when the user asked to stop; called between batches. */
  checkInterrupt(): void;
  /** The same between batches of evaluation; true: leave them, and vote with the others. */
  leavesBatches(): boolean;
  /** Several processes agree on whether to stop: after a batch of training, now and then or when `due`. */
  voteAfterBatch(due: boolean): void;
  vote(): void;
  /**
   * Metrics become those of all processes: of this step those that are to, or of the epoch. News of this process go with
   * them: all hear those of all.
   */
  reduceMetrics(onStep: boolean, riders?: NewsOfRanks): void;
}

/**
 * Brings a batch to where it is used: converted by the precision, then moved, with the hooks of data module or module
 * around the move. A promise only where one of these returns one.
 */
export function makeTransfer(
  context: LoopContext,
  precision: Precision = context.precision,
): (batch: Batch, dataloaderIdx: number) => Batch | Promise<Batch> {
  const { data, strategy } = context;
  const profiling = context.profiling ?? null;
  const own = data.transferring("transferBatchToDevice");
  const plain: Stage =
    own === null
      ? (batch) => strategy.toDevice(batch)
      : (batch, index) => own.transferBatchToDevice(batch, strategy.rootDevice, index);
  const move: Stage =
    profiling === null
      ? plain
      : (batch, index) => profiling.run(profiling.ofStrategy("batchToDevice"), () => plain(batch, index));
  const stages = [stageOf("onBeforeBatchTransfer"), move, stageOf("onAfterBatchTransfer")];
  return (batch, dataloaderIdx) =>
    through(0, precision.convertsInput ? precision.convertInput(batch) : batch, dataloaderIdx);

  function stageOf(hook: Exclude<TransferHook, "transferBatchToDevice">): Stage | null {
    const source = data.transferring(hook);
    return source === null ? null : (batch, index) => source[hook](batch, index);
  }
  function through(from: number, batch: Batch, index: number): Batch | Promise<Batch> {
    let changed = batch;
    for (let i = from; i < stages.length; i++) {
      const stage = stages[i];
      if (stage === null || stage === undefined) continue;
      changed = stage(changed, index);
      if (isPromise(changed)) return named(NAMES[i] ?? "", changed).then((late) => through(i + 1, late, index));
    }
    return changed;
  }
}
type Stage = (batch: Batch, dataloaderIdx: number) => Batch;
const NAMES: readonly TransferHook[] = ["onBeforeBatchTransfer", "transferBatchToDevice", "onAfterBatchTransfer"];

/** Send metrics to all loggers. A promise only where a logger returns one. */
export function logMetrics(
  context: LoopContext,
  metrics: Record<string, number>,
  step: number,
  epoch: number | null,
): Promise<unknown> | null {
  const waits: Promise<unknown>[] = [];
  sendMetrics(context, waits, metrics, step, epoch);
  return together(waits);
}

/** Send what an iteration did to all loggers, then its metrics. A promise only where a logger returns one. */
export function logStep(
  context: LoopContext,
  outcome: StepOutcome | null,
  metrics: Record<string, number>,
  step: number,
  epoch: number,
): Promise<unknown> | null {
  const waits: Promise<unknown>[] = [];
  if (outcome !== null)
    for (const logger of context.loggers) wait(waits, "logOutcome", logger.logOutcome(outcome, step));
  sendMetrics(context, waits, metrics, step, epoch);
  return together(waits);
}

function sendMetrics(
  context: LoopContext,
  waits: Promise<unknown>[],
  metrics: Record<string, number>,
  step: number,
  epoch: number | null,
): void {
  if (context.loggers.length === 0 || Object.keys(metrics).length === 0) return;
  let at = step;
  if (epoch !== null) {
    const own = metrics.step;
    if (own === undefined) metrics.epoch ??= epoch;
    else {
      at = Math.trunc(own);
      delete metrics.step;
    }
  }
  for (const logger of context.loggers) {
    const logged: unknown = logger.logMetrics(metrics, at);
    if (isPromise(logged))
      wait(
        waits,
        "logMetrics",
        logged.then(() => logger.save()),
      );
    else wait(waits, "save", logger.save());
  }
}

function wait(waits: Promise<unknown>[], what: string, result: unknown): void {
  if (!isPromise(result)) return;
  const waiting = named(what, result);
  // Whoever waits for all of them hears of it; until then it is not to count as unheard of, which would end the
  // process.
  waiting.catch(() => undefined);
  waits.push(waiting);
}

function together(waits: readonly Promise<unknown>[]): Promise<unknown> | null {
  if (waits.length === 0) return null;
  const all = Promise.all(waits);
  all.catch(() => undefined);
  return all;
}
