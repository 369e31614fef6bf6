/** `nbit fit` and its like: a module file with a model and its data; flags and files of settings override. */
import { saysNothing, type Command, type Flags } from "../command.js";
import { CHECKPOINT_FLAGS, CONFIG_FLAGS, PARTS_FLAGS, SECTIONS, trainerGroups, VERBOSE } from "../run/flags.js";
import type { RunKind } from "../run/execute.js";

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
      if (saysNothing(call, process.env)) return null;
      const { helpOnFile } = await import("../run/open.js");
      return helpOnFile(kind, call);
    },
    async run(call) {
      const { run } = await import("../run/command.js");
      return run(kind, call);
    },
  };
}

export const runCommands: readonly Command[] = (["fit", "validate", "test", "predict"] as const).map(runCommand);
