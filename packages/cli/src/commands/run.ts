/** `nbit fit` and its like: a module file with a model and its data; flags and files of settings override. */
import type { Call, Command, Flags } from "../command.js";
import { lastOf } from "../command.js";
import { CommandError } from "../errors.js";
import { helpText } from "../help/text.js";
import { findFile } from "../run/file.js";
import { CHECKPOINT_FLAGS, CONFIG_FLAGS, PARTS_FLAGS, SECTIONS, trainerGroups, VERBOSE } from "../run/flags.js";
import type { RunKind } from "../run/execute.js";
import type { Program } from "../run/program.js";
import { settingsOf, switchOf, textOf } from "../run/settings.js";
import type { Settings } from "../settings/settle.js";

const SUMMARIES: Readonly<Record<RunKind, string>> = {
  fit: "train the model of a module file",
  validate: "run its validation step over its validation data",
  test: "run its test step over its test data",
  predict: "run its predict step over its data, and write what it returns",
};

export const FILE_EXPORTS = `  model    a LightningModule class, an instance, or a function that returns one (or as default)
  data     a LightningDataModule, in the same ways; or, in its place,
           trainDataloaders, valDataloaders, testDataloaders, predictDataloaders: a DataLoader, a list, or a function
           that returns one. Left out: the model's own trainDataloader() and so on
  trainer  options of the Trainer, which flags override`;

const about = (
  kind: RunKind,
): string => `${SUMMARIES[kind][0]?.toUpperCase() ?? ""}${SUMMARIES[kind].slice(1)}. FILE is a module (.js, .mjs, .ts, .mts) that exports

${FILE_EXPORTS}

A class needs no such name where it is the only one of its kind. --model.NAME and --data.NAME are what the classes
declare: \`static hparams = { lr: 0.1 }\`, or what their constructors record with saveHyperparameters. \`nbit ${kind} FILE
--help\` lists them. --trainer.NAME is --NAME.`;

const WEIGHTS: Flags = new Map([
  ["initialWeights", { summary: "use the weights that the file makes, without a checkpoint", takes: ["switch"] }],
]);
const OUTPUT: Flags = new Map([
  [
    "output",
    {
      summary: "write predictions, a row for each sample",
      takes: ["text"],
      value: "FILE",
      values: "preds.csv, .jsonl, .safetensors or .parquet",
    },
  ],
]);

function runCommand(kind: RunKind): Command {
  return {
    name: kind,
    summary: SUMMARIES[kind],
    usage: "FILE [--flag value]…",
    about: about(kind),
    words: { most: 1, what: "one file", files: true },
    sections: SECTIONS,
    groups: [
      { title: "Settings", flags: CONFIG_FLAGS },
      { title: "Parts", flags: PARTS_FLAGS },
      {
        title: kind === "predict" ? "Weights and output" : "Weights",
        flags: new Map([
          ...CHECKPOINT_FLAGS,
          ...(kind === "fit" ? [] : WEIGHTS),
          ...(kind === "predict" ? OUTPUT : []),
        ]),
      },
      ...trainerGroups(),
      { title: "This command", flags: VERBOSE },
    ],
    async help(call) {
      const settings = settingsOf(call, process.env);
      if (textOf(kind, settings, "file") === null) return null;
      const { program } = await open(kind, settings);
      const { declaredGroups } = await import("../run/arguments-help.js");
      return helpText(call.command, await declaredGroups(kind, program, settings));
    },
    run: (call) => run(kind, call),
  };
}

export interface Opened {
  readonly program: Program;
  readonly file: string;
  readonly seed: number | null;
}
/** Seed, then load the file. Loads libtorch. */
export async function open(command: string, settings: Settings): Promise<Opened> {
  const { parts } = settings;
  const file = textOf(command, settings, "file");
  const chosen = { model: parts.model.choice !== null, data: parts.data.choice !== null };
  const { NO_PROGRAM, loadProgram } = await import("../run/program.js");
  const { seedRun } = await import("../program/prepare.js");
  if (file === null && chosen.model) {
    const seed = seedRun(command, settings);
    return { program: NO_PROGRAM, file: String(parts.model.choice?.value), seed };
  }
  const path = findFile(command, file);
  const seed = seedRun(command, settings);
  return { program: await loadProgram(command, path, file ?? path, chosen), file: file ?? path, seed };
}

async function run(kind: RunKind, call: Call): Promise<number> {
  const settings = settingsOf(call, process.env);
  const flags = lastOf(call.flags);
  const printsConfig = flags.get("print-config") === true;
  const output = textOf(kind, settings, "output");
  if (kind === "predict" && output !== null) (await import("../output/formats.js")).checkOutput(output);
  if (kind !== "fit" && !printsConfig) checkWeights(kind, settings);
  const { program, file, seed } = await open(kind, settings);
  const { prepare, sharingSeed } = await import("../program/prepare.js");
  const { configHeader } = await import("../program/header.js");
  const { configText, configTemplate } = await import("../settings/dump.js");
  const { SaveConfigCallback } = await import("../program/save-config.js");
  const stream = kind === "predict" && output !== null ? (await import("../output/stream.js")).streamTo(output) : null;
  const streams = stream === null ? [] : [stream];
  const prepared = await prepare(
    settings,
    {
      command: kind,
      file,
      ...program,
      callbacks: (config) =>
        kind === "fit" ? [new SaveConfigCallback(() => configText(config(), configHeader(call.args)))] : streams,
    },
    seed,
  );
  if (printsConfig) {
    // One that was drawn for this call is no setting of the next.
    const { seed: _drawn, ...config } = prepared.config;
    console.log(configTemplate(settings.own.has("seed") ? prepared.config : config).trimEnd());
    return 0;
  }
  if (kind !== "fit" && prepared.ckptPath === null && prepared.askedCkptPath !== null)
    throw noCheckpoint(
      kind,
      `${prepared.askedCkptPath}, and no run has left a checkpoint below ${prepared.trainer.defaultRootDir}`,
    );
  const { execute } = await import("../run/execute.js");
  return sharingSeed(seed, String(flags.get("env-prefix") ?? "NBIT"), () =>
    execute({ ...prepared, kind, call, program, output }),
  );
}

/** @throws {CommandError} `ERR_NO_CHECKPOINT`: nothing says whose weights are meant. */
function checkWeights(kind: RunKind, settings: Settings): void {
  const given = textOf(kind, settings, "ckptPath");
  const initial = switchOf(kind, settings, "initialWeights");
  if (given === null && !initial)
    throw noCheckpoint(kind, "none, so that weights would be those that the file makes: random ones, most likely");
  if (given !== null && initial)
    throw new CommandError("ERR_FLAG", `nbit ${kind}: expected --ckptPath or --initialWeights. Received: both.`);
}

function noCheckpoint(kind: RunKind, received: string): CommandError {
  return new CommandError(
    "ERR_NO_CHECKPOINT",
    `nbit ${kind}: expected --ckptPath to name a checkpoint whose weights to use. Received: ${received}. Pass --ckptPath last, best or a file; or --initialWeights to use what the file makes.`,
  );
}

export const runCommands: readonly Command[] = (["fit", "validate", "test", "predict"] as const).map(runCommand);
