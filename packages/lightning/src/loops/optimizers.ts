import { optim, verbatim } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import { BEFORE_TRAINING, mustEnd } from "../promises.js";
import type { LightningModule } from "../module.js";
import { warn } from "../warnings.js";
import type { LRSchedulerConfig, Scheduler, SchedulerSpec } from "./optimizer-configuration.js";

const WHERE = "configureOptimizers";

/** Whether an optimizer evaluates the loss itself, several times per step. */
export function needsClosure(optimizer: optim.Optimizer): boolean {
  return optimizer instanceof optim.LBFGS;
}

/** Calls `configureOptimizers` and brings its result, in any of its forms, into one. */
export function configureOptimizers(module: LightningModule): {
  optimizers: optim.Optimizer[];
  schedulers: LRSchedulerConfig[];
} {
  const configuration = mustEnd(WHERE, module.configureOptimizers(), BEFORE_TRAINING);
  const { optimizers, schedulers, monitor } = parse(configuration);
  if (optimizers.length === 0) warn("WARN_NO_OPTIMIZER", `${WHERE} returned no optimizer: nothing will be trained.`);
  if (module.automaticOptimization && optimizers.length > 1) {
    throw new MisconfigurationError(
      WHERE,
      "one optimizer under automatic optimization",
      verbatim(`${optimizers.length} optimizers`),
      "Set automaticOptimization = false and step them in trainingStep: const [a, b] = [this.optimizers()].flat().",
      "ERR_SEVERAL_OPTIMIZERS",
    );
  }
  const configs = schedulers.map((scheduler) => configure(scheduler, monitor, module.automaticOptimization));
  for (const { scheduler } of configs) {
    if (!optimizers.includes(scheduler.optimizer)) {
      throw new MisconfigurationError(
        WHERE,
        "schedulers of the optimizers that it returns",
        scheduler,
        "Return the optimizer that the scheduler was made with.",
        "ERR_SCHEDULER_OPTIMIZER",
      );
    }
  }
  return { optimizers, schedulers: configs };
}

interface Parsed {
  optimizers: optim.Optimizer[];
  schedulers: (Scheduler | SchedulerSpec)[];
  monitor: string | null;
}

function parse(value: unknown): Parsed {
  if (value === null || value === undefined) return { optimizers: [], schedulers: [], monitor: null };
  if (value instanceof optim.Optimizer) return { optimizers: [value], schedulers: [], monitor: null };
  if (isPlainObject(value)) return parseSpecs([value]);
  if (Array.isArray(value)) {
    const list: unknown[] = value;
    if (list.every((item) => item instanceof optim.Optimizer))
      return { optimizers: list, schedulers: [], monitor: null };
    const [first, second] = list;
    if (list.length === 2 && Array.isArray(first) && first.every((item) => item instanceof optim.Optimizer)) {
      return {
        optimizers: first,
        schedulers: (Array.isArray(second) ? second : [second]).map(asScheduler),
        monitor: null,
      };
    }
    if (list.every(isPlainObject)) return parseSpecs(list);
  }
  throw new MisconfigurationError(
    WHERE,
    "an optimizer, a list of optimizers, [optimizers, schedulers], { optimizer, lrScheduler, monitor } or a list of these",
    value,
    undefined,
    "ERR_OPTIMIZERS",
  );
}

function parseSpecs(specs: readonly Record<string, unknown>[]): Parsed {
  const optimizers: optim.Optimizer[] = [];
  const schedulers: (Scheduler | SchedulerSpec)[] = [];
  let monitor: string | null = null;
  for (const spec of specs) {
    for (const key of Object.keys(spec)) {
      if (key !== "optimizer" && key !== "lrScheduler" && key !== "monitor") {
        throw new MisconfigurationError(
          WHERE,
          "the keys optimizer, lrScheduler and monitor",
          key,
          undefined,
          "ERR_OPTIMIZERS",
        );
      }
    }
    if (!(spec.optimizer instanceof optim.Optimizer))
      throw new MisconfigurationError(
        WHERE,
        "optimizer to be an Optimizer",
        spec.optimizer,
        undefined,
        "ERR_OPTIMIZERS",
      );
    optimizers.push(spec.optimizer);
    if (typeof spec.monitor === "string") monitor = spec.monitor;
    if (spec.lrScheduler !== undefined) schedulers.push(asScheduler(spec.lrScheduler));
  }
  return { optimizers, schedulers, monitor };
}

function isScheduler(value: unknown): value is Scheduler {
  return (
    typeof value === "object" &&
    value !== null &&
    "step" in value &&
    typeof value.step === "function" &&
    "stateDict" in value &&
    "loadStateDict" in value &&
    "optimizer" in value
  );
}

function isSchedulerSpec(value: unknown): value is SchedulerSpec {
  return isPlainObject(value) && isScheduler(value.scheduler);
}

function asScheduler(value: unknown): Scheduler | SchedulerSpec {
  if (isSchedulerSpec(value) || isScheduler(value)) return value;
  throw new MisconfigurationError(
    WHERE,
    "a scheduler (with optimizer, step, stateDict and loadStateDict) or { scheduler, interval, frequency, monitor }",
    value,
    undefined,
    "ERR_SCHEDULER",
  );
}

function isInterval(value: string): value is LRSchedulerConfig["interval"] {
  return value === "step" || value === "epoch";
}

function configure(given: Scheduler | SchedulerSpec, monitor: string | null, automatic: boolean): LRSchedulerConfig {
  const spec: SchedulerSpec = isSchedulerSpec(given) ? given : { scheduler: given };
  const reduceOnPlateau = spec.reduceOnPlateau ?? spec.scheduler instanceof optim.ReduceLROnPlateau;
  const { interval = "epoch" } = spec;
  if (!isInterval(interval))
    throw new MisconfigurationError(WHERE, 'interval to be "step" or "epoch"', interval, undefined, "ERR_SCHEDULER");
  const config: LRSchedulerConfig = {
    scheduler: spec.scheduler,
    interval,
    frequency: spec.frequency ?? 1,
    reduceOnPlateau,
    monitor: spec.monitor ?? monitor,
    strict: spec.strict ?? true,
    name: spec.name ?? null,
  };
  if (!Number.isInteger(config.frequency) || config.frequency < 1) {
    throw new MisconfigurationError(
      WHERE,
      "frequency to be a whole number ≥ 1",
      config.frequency,
      undefined,
      "ERR_SCHEDULER",
    );
  }
  if (automatic && reduceOnPlateau && config.monitor === null) {
    throw new MisconfigurationError(
      WHERE,
      "monitor, the metric that a ReduceLROnPlateau scheduler is stepped with",
      verbatim("no monitor"),
      'Return { optimizer, lrScheduler: { scheduler, monitor: "val_loss" } }.',
      "ERR_SCHEDULER",
    );
  }
  return config;
}
