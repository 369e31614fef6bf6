/**
 * Flags of `nbit fit` and its like: the Trainer's options under their own names, in groups. What a value may be is the
 * Trainer's to say.
 */
import { defaultText, TRAINER_OPTIONS, type FlagKind } from "@nbit/lightning/options"; // loads no libtorch
import type { Flag, FlagGroup, Flags } from "../command.js";

/** Beginnings of flags that a program declares. */
export const SECTIONS = ["trainer", "model", "data", "optimizer", "lrScheduler", "callbacks", "logger"];

/** Options of the Trainer by what they are about; those that nobody has put here stand last. */
const GROUPS: readonly (readonly [title: string, names: readonly string[]])[] = [
  [
    "Where and in what numbers",
    [
      "accelerator",
      "devices",
      "numNodes",
      "strategy",
      "precision",
      "validationPrecision",
      "ampBackend",
      "ampLevel",
      "cpuKernels",
    ],
  ],
  ["How long", ["maxEpochs", "minEpochs", "maxSteps", "minSteps", "maxTime", "fastDevRun", "overfitBatches"]],
  [
    "Data and validation",
    [
      "limitTrainBatches",
      "limitValBatches",
      "limitTestBatches",
      "limitPredictBatches",
      "valCheckInterval",
      "checkValEveryNEpoch",
      "numSanityValSteps",
      "reloadDataloadersEveryNEpochs",
      "useDistributedSampler",
      "inferenceMode",
    ],
  ],
  ["Steps", ["accumulateGradBatches", "gradientClipVal", "gradientClipAlgorithm", "onSkippedStep", "syncBatchnorm"]],
  [
    "What is written and shown",
    [
      "defaultRootDir",
      "logger",
      "logEveryNSteps",
      "callbacks",
      "enableCheckpointing",
      "enableProgressBar",
      "enableModelSummary",
      "barebones",
      "profiler",
    ],
  ],
];
const OTHERS = "How steps run";

const CHOICES: Readonly<Record<string, readonly string[]>> = {
  accelerator: ["auto", "cpu", "cuda", "tpu", "xla"],
  precision: ["32", "64", "16", "bf16", "16-true", "bf16-true", "auto"],
  ampBackend: ["native", "apex"],
  ampLevel: ["O0", "O1", "O2", "O3"],
  strategy: ["auto", "single_device", "ddp", "fsdp"],
  gradientClipAlgorithm: ["norm", "value"],
  onSkippedStep: ["advance", "hold"],
  cpuKernels: ["fast", "libtorch"],
  deterministic: ["true", "false", "warn"],
  profiler: ["simple", "advanced", "pytorch"],
};

/** Every option of the Trainer that a word can express. */
export function trainerGroups(): FlagGroup[] {
  const rows = new Map(
    Object.entries(TRAINER_OPTIONS).flatMap(([name, row]): [string, Flag][] => {
      const { flag: takes } = row;
      if (takes === null) return [];
      const choices = CHOICES[name];
      const values = row.values === undefined ? {} : { values: row.values };
      return [
        [
          name,
          {
            summary: row.summary,
            ...values,
            otherwise: defaultText(row),
            ...(choices === undefined ? {} : { choices }),
            takes,
          },
        ],
      ];
    }),
  );
  const pick = (names: readonly string[]): Flags =>
    new Map(
      names.flatMap((name) => {
        const row = rows.get(name);
        rows.delete(name);
        return row === undefined ? [] : [[name, row] as const];
      }),
    );
  const groups = GROUPS.map(([title, names]) => ({ title, flags: pick(names) }));
  return [...groups, { title: OTHERS, flags: rows }].filter(({ flags }) => flags.size > 0);
}

const flag = (summary: string, takes: readonly FlagKind[], more: Partial<Flag> = {}): Flag => ({
  summary,
  takes,
  ...more,
});

export const PARTS_FLAGS: Flags = new Map([
  ["model", flag("another class than the file's", ["text"], { value: "CLASS", values: "Net, or ./net.ts#Net" })],
  ["data", flag("another data module than the file's", ["text"], { value: "CLASS" })],
  [
    "optimizer",
    flag("in the place of the model's own", ["text"], { value: "CLASS", values: "SGD, AdamW, …; --optimizer.lr 0.1" }),
  ],
  ["lrScheduler", flag("its schedule", ["text"], { value: "CLASS", values: "StepLR, …; --lrScheduler.stepSize 10" })],
]);

export const CONFIG_FLAGS: Flags = new Map([
  [
    "config",
    flag("settings of a YAML file; several are read in order, and what comes later wins", ["text"], {
      value: "FILE",
      short: "c",
    }),
  ],
  ["print-config", flag("print all settings as YAML, and end", ["switch"])],
  [
    "env-prefix",
    flag("beginning of environment variables that are read: NBIT_FIT__TRAINER__MAX_EPOCHS=5", ["text"], {
      value: "NAME",
      otherwise: "NBIT",
    }),
  ],
  [
    "seed",
    flag("seeds everything before the file is loaded", ["number"], {
      value: "N",
      otherwise: "a fit draws one and keeps it in config.yaml",
    }),
  ],
]);

export const CHECKPOINT_FLAGS: Flags = new Map([
  ["ckptPath", flag("a checkpoint to use", ["text"], { value: "FILE", values: "a path, last or best" })],
  ["run", flag("the run whose checkpoint last or best is", ["text"], { value: "FOLDER", otherwise: "the newest" })],
]);

export const VERBOSE: Flags = new Map([["verbose", flag("show all of an error, our own frames too", ["switch"])]]);
