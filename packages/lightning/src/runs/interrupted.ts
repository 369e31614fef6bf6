import { ModelCheckpoint } from "../checkpoint/model-checkpoint.js";
import { InterruptError } from "../errors.js";
import type { Run } from "../run.js";
import type { Ending } from "../signals.js";
import { isError } from "@nbit/torch/realm";
import { requeueJob } from "./requeue.js";

/**
 * Saves where an interrupted run stands, where checkpoints are written. @returns the error that says so.
 * @param reason - The cause of the error, unless it has one of its own.
 */
export function saveInterrupted(run: Run, signal: Ending, reason: unknown): InterruptError {
  const error = save(run, signal);
  if (signal === "SIGUSR1" && run.strategy.isGlobalZero) requeueJob();
  if (signal === "abort" && reason !== undefined) error.cause ??= reason;
  return error;
}

function save(run: Run, signal: Ending): InterruptError {
  const { trainer, fn } = run;
  const error = (text: string, path: string | null): InterruptError =>
    new InterruptError(`${fn}: ${text}`, path, signal);
  const goOn = (path: string): string => `Go on with trainer.fit(model, { ckptPath: ${JSON.stringify(path)} }).`;
  if (fn !== "fit") return error("interrupted.", null);
  if (!run.prepared) {
    const from = run.checkpointPath;
    return error(
      `interrupted before training began. ${from === null ? "Start it again: nothing is lost." : goOn(from)}`,
      from,
    );
  }
  const done = `interrupted after ${trainer.globalStep} steps.`;
  const saver = run.callbacks.find((callback) => callback instanceof ModelCheckpoint);
  const file = saver?.interruptedFile(trainer) ?? null;
  if (file === null || run.options.fastDevRun !== false)
    return error(`${done} There is no checkpoint, since checkpointing is off.`, null);
  const { path, metadata } = file;
  try {
    trainer.saveCheckpoint(path, { metadata });
    trainer.checkpointIO.wait();
  } catch (cause) {
    const lost = error(
      `${done} Its checkpoint could not be written: ${isError(cause) ? cause.message : String(cause)}`,
      null,
    );
    lost.cause = cause;
    return lost;
  }
  return error(`${done} ${goOn(path)}`, path);
}
