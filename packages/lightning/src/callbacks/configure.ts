import { verbatim } from "@nbit/torch";
import { ModelCheckpoint } from "../checkpoint/model-checkpoint.js";
import { MisconfigurationError } from "../errors.js";
import type { LightningModule } from "../module.js";
import { AT_ONCE, BEFORE_TRAINING, mustEnd } from "../promises.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { Callback } from "./callback.js";
import { Checkpoint } from "./checkpoint.js";
import { ModelSummary } from "./model-summary.js";
import { ProgressBar } from "./progress-bar.js";
import { defaultRunLog, RunLog } from "./run-log.js";
import { Timer } from "./timer.js";

/**
 * The user's callbacks and those that options ask for; checkpoints come last, so that they save what the others did.
 */
export function configureCallbacks(options: ResolvedOptions): readonly Callback[] {
  const given: readonly unknown[] = Array.isArray(options.callbacks) ? options.callbacks : [options.callbacks];
  const callbacks: Callback[] = [];
  for (const callback of given) {
    if (!(callback instanceof Callback))
      throw new MisconfigurationError("Trainer", "callbacks to be Callbacks", callback, undefined, "ERR_CALLBACKS");
    callbacks.push(callback);
  }
  for (const { option, type, enabled, make } of [
    { option: "enableProgressBar", type: ProgressBar, enabled: true, make: () => new ProgressBar() },
    { option: "enableModelSummary", type: ModelSummary, enabled: true, make: () => new ModelSummary() },
    {
      option: "enableCheckpointing",
      type: Checkpoint,
      enabled: options.fastDevRun === false,
      make: () => new ModelCheckpoint(),
    },
    {
      option: "runLog",
      type: RunLog,
      enabled: options.fastDevRun === false,
      make: () => defaultRunLog({ asked: options.runLog === true, announces: options.enableProgressBar }),
    },
  ] as const) {
    const given = callbacks.find((callback) => callback instanceof type);
    const wanted = options[option] ?? options.logger !== false;
    if (given !== undefined && options[option] === false) throw contradiction(option, given.constructor.name);
    if (given === undefined && wanted && enabled) callbacks.push(make());
  }
  if (options.maxTime !== undefined) callbacks.push(new Timer({ duration: options.maxTime }));
  checkStateKeys(callbacks);
  return checkpointsLast(callbacks);
}

/**
 * The callbacks of a run: the Trainer's, and those that the module configures, which take the place of those whose
 * class, or a class below it, they are of.
 */
export function withCallbacksOf(module: LightningModule, callbacks: readonly Callback[]): readonly Callback[] {
  const given: unknown = mustEnd("configureCallbacks", module.configureCallbacks(), BEFORE_TRAINING);
  const own: Callback[] = [];
  for (const callback of Array.isArray(given) ? (given as unknown[]) : [given]) {
    if (!(callback instanceof Callback))
      throw new MisconfigurationError(
        "configureCallbacks",
        "to return a Callback, or a list of them",
        callback,
        undefined,
        "ERR_CALLBACKS",
      );
    own.push(callback);
  }
  if (own.length === 0) return callbacks;
  const stays = ({ constructor }: Callback): boolean =>
    constructor === Callback || !own.some((callback) => callback instanceof constructor);
  const all = [...callbacks.filter(stays), ...own];
  checkStateKeys(all);
  return checkpointsLast(all);
}

function checkpointsLast(callbacks: readonly Callback[]): readonly Callback[] {
  const isCheckpoint = (callback: Callback): boolean => callback instanceof Checkpoint;
  return [...callbacks.filter((callback) => !isCheckpoint(callback)), ...callbacks.filter(isCheckpoint)];
}

function checkStateKeys(callbacks: readonly Callback[]): void {
  const keys = new Set<string>();
  for (const callback of callbacks) {
    if (Object.keys(mustEnd("stateDict", callback.stateDict(), AT_ONCE)).length === 0) continue;
    if (keys.has(callback.stateKey))
      throw new MisconfigurationError(
        "Trainer",
        "callbacks with distinct state keys",
        callback.stateKey,
        "Override stateKey in one of them.",
        "ERR_CALLBACKS",
      );
    keys.add(callback.stateKey);
  }
}

function contradiction(option: string, callback: string): MisconfigurationError {
  return new MisconfigurationError(
    "Trainer",
    `${option}: true with a ${callback}`,
    verbatim(`${option}: false and a ${callback}`),
    "Remove one of them.",
    "ERR_CALLBACKS",
  );
}
