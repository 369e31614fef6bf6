/** What a run command does once everything is made, and what it says. */
import { InterruptError, ModelCheckpoint, ParallelStrategy } from "@nbit/lightning";
import { plainText } from "@nbit/torch";
import { clusterEnvironment } from "@nbit/torch/distributed";
import type { Call } from "../command.js";
import { PredictionStream } from "../output/stream.js";
import { writePredictions } from "../output/write.js";
import type { Prepared } from "../program/prepare.js";
import { quoteForShell } from "../terminal/quote.js";
import type { LoaderExport, Program } from "./program.js";

export type RunKind = "fit" | "validate" | "test" | "predict";

export interface Execution extends Prepared {
  readonly kind: RunKind;
  readonly call: Call;
  readonly program: Program;
  /** Where predictions go; null: nowhere. */
  readonly output: string | null;
}

/** @returns the exit status: that of the signal, where one ended the run. */
export async function execute(execution: Execution): Promise<number> {
  const { kind, call, ckptPath, askedCkptPath } = execution;
  if (ckptPath !== null && ckptPath !== askedCkptPath) say(execution, `from  ${ckptPath}`);
  try {
    if (kind === "fit") await fit(execution);
    else if (kind === "predict") await predict(execution);
    else await evaluate(execution, kind);
    return 0;
  } catch (error) {
    if (!(error instanceof InterruptError)) throw error;
    const { checkpointPath } = error;
    const message =
      checkpointPath === null
        ? error.message
        : `nbit ${kind}: interrupted. Go on with: ${continuation(kind, call.args, checkpointPath)}`;
    console.error(plainText(message));
    return error.exitCode;
  }
}

/** In one process of those that work: not in one that is about to start them. */
function say({ trainer }: Execution, text: string): void {
  const starts =
    trainer.strategy instanceof ParallelStrategy && trainer.numDevices > 1 && clusterEnvironment() === null;
  if (trainer.isGlobalZero && !starts) console.log(plainText(text));
}

/** The data module, or the loaders that the file exports; and the checkpoint. */
async function sourcesOf<N extends string>(
  { program, datamodule, ckptPath, askedCkptPath }: Execution,
  loaders: Readonly<Record<N, LoaderExport>>,
): Promise<object> {
  // A fit goes on from the last where there is one; the Trainer says that there is none.
  const checkpoint = { ckptPath: ckptPath ?? askedCkptPath };
  if (datamodule !== null) return { ...checkpoint, datamodule };
  const found: Record<string, unknown> = {};
  for (const [name, exported] of Object.entries<LoaderExport>(loaders)) found[name] = await program.loaders(exported);
  return { ...checkpoint, ...found };
}

async function fit(execution: Execution): Promise<void> {
  const { trainer, model } = execution;
  await trainer.fit(
    model,
    await sourcesOf(execution, { trainDataloaders: "trainDataloaders", valDataloaders: "valDataloaders" }),
  );
  for (const callback of trainer.callbacks)
    if (callback instanceof ModelCheckpoint && callback.bestModelPath !== "")
      say(execution, `checkpoint  ${callback.bestModelPath}`);
  const folder = trainer.logger?.logDir ?? null;
  if (folder !== null && trainer.fastDevRun === false) say(execution, `run  ${folder}`);
}

async function evaluate(execution: Execution, kind: "validate" | "test"): Promise<void> {
  const dataloaders = kind === "test" ? "testDataloaders" : "valDataloaders";
  const results = await execution.trainer[kind](execution.model, await sourcesOf(execution, { dataloaders }));
  for (const result of results) for (const [name, value] of Object.entries(result)) say(execution, `${name}  ${value}`);
}

async function predict(execution: Execution): Promise<void> {
  const { trainer, model, output } = execution;
  const stream = trainer.callbacks.find((callback) => callback instanceof PredictionStream);
  // Of several processes each has a share: the first gets all of them.
  const several = trainer.numDevices > 1 || (clusterEnvironment()?.worldSize ?? 1) > 1;
  const sources = await sourcesOf(execution, { dataloaders: "predictDataloaders" });
  const returnPredictions = output !== null && (stream === undefined || several);
  const predictions = await trainer.predict(model, { ...sources, returnPredictions, gather: returnPredictions });
  if (output === null || !trainer.isGlobalZero) return;
  const files =
    stream !== undefined && stream.written.length > 0
      ? stream.written
      : await writePredictions(output, predictions, trainer.numPredictBatches.length);
  for (const path of files) say(execution, `predictions  ${path}`);
}

/** The same call, from a checkpoint. */
function continuation(kind: RunKind, args: readonly string[], checkpoint: string): string {
  const kept = args.filter((arg, i) => !/^--ckptPath(=|$)/.test(arg) && !/^--ckptPath$/.test(args[i - 1] ?? ""));
  return ["nbit", kind, ...kept, "--ckptPath", checkpoint].map(quoteForShell).join(" ");
}
