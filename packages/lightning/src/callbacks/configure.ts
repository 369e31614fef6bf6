import { verbatim } from "@nbit/torch";
import { ModelCheckpoint } from "../checkpoint/model-checkpoint.js";
import { MisconfigurationError } from "../errors.js";
import { AT_ONCE, mustEnd } from "../hooks.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { Callback } from "./callback.js";
import { ModelSummary } from "./model-summary.js";
import { ProgressBar } from "./progress-bar.js";
import { Timer } from "./timer.js";

/** The user's callbacks and those that options ask for; checkpoints come last, so that they save what the others did. */
export function configureCallbacks(options: ResolvedOptions): readonly Callback[] {
  const given: readonly unknown[] = Array.isArray(options.callbacks) ? options.callbacks : [options.callbacks];
  const callbacks: Callback[] = [];
  for (const callback of given) {
    if (!(callback instanceof Callback)) throw new MisconfigurationError("Trainer", "callbacks to be Callbacks", callback, undefined, "ERR_CALLBACKS");
    callbacks.push(callback);
  }
  const has = (type: abstract new (...args: never[]) => Callback): boolean => callbacks.some((callback) => callback instanceof type);

  if (options.enableProgressBar) {
    if (!has(ProgressBar)) callbacks.push(new ProgressBar());
  } else if (has(ProgressBar)) throw contradiction("enableProgressBar", "ProgressBar");
  if (options.enableModelSummary) {
    if (!has(ModelSummary)) callbacks.push(new ModelSummary());
  } else if (has(ModelSummary)) throw contradiction("enableModelSummary", "ModelSummary");
  if (options.enableCheckpointing) {
    if (!has(ModelCheckpoint) && options.fastDevRun === false) callbacks.push(new ModelCheckpoint());
  } else if (has(ModelCheckpoint)) throw contradiction("enableCheckpointing", "ModelCheckpoint");
  if (options.maxTime !== undefined) callbacks.push(new Timer({ duration: options.maxTime }));

  const keys = new Set<string>();
  for (const callback of callbacks) {
    if (Object.keys(mustEnd("stateDict", callback.stateDict(), AT_ONCE)).length === 0) continue;
    if (keys.has(callback.stateKey)) throw new MisconfigurationError("Trainer", "callbacks with distinct state keys", callback.stateKey, "Override stateKey in one of them.", "ERR_CALLBACKS");
    keys.add(callback.stateKey);
  }
  const isCheckpoint = (callback: Callback): boolean => callback instanceof ModelCheckpoint;
  return [...callbacks.filter((callback) => !isCheckpoint(callback)), ...callbacks.filter(isCheckpoint)];
}

function contradiction(option: string, callback: string): MisconfigurationError {
  return new MisconfigurationError("Trainer", `${option}: true with a ${callback}`, verbatim(`${option}: false and a ${callback}`), "Remove one of them.", "ERR_CALLBACKS");
}
