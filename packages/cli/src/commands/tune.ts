/** `nbit tune`: a learning rate and a batch size that suit, by trying. */
import { plainText } from "@nbit/torch/files";
import { isPlain } from "@nbit/torch/realm";
import { lastOf, type Call, type Command, type Flag, type Flags } from "../command.js";
import { CommandError } from "../errors.js";
import { helpText } from "../help/text.js";
import { CONFIG_FLAGS, PARTS_FLAGS, SECTIONS, trainerGroups, VERBOSE } from "../run/flags.js";
import { settingsOf, textOf } from "../run/settings.js";
import { quoteForShell } from "../terminal/quote.js";
import { FILE_EXPORTS, open } from "./run.js";

const number = (summary: string, otherwise: string): Flag => ({ summary, takes: ["number"], value: "N", otherwise });
const OWN: Flags = new Map<string, Flag>([
  ["lr", { summary: "look for a learning rate; so it is without --batchSize, too", takes: ["switch"] }],
  ["batchSize", { summary: "look for the largest batch size that memory suffices for", takes: ["switch"] }],
  ["minLr", number("rate to begin at", "1e-8")],
  ["maxLr", number("rate to end at", "1")],
  ["numTraining", number("steps of the search for a rate", "100")],
  [
    "lrMode",
    {
      summary: "how rates grow",
      takes: ["text"],
      choices: ["exponential", "linear"],
      values: "exponential or linear",
      otherwise: "exponential",
    },
  ],
  ["plot", { summary: "draw loss over rate", takes: ["text"], value: "FILE", values: "lr.svg" }],
  [
    "batchSizeMode",
    {
      summary: "how sizes grow",
      takes: ["text"],
      choices: ["power", "binsearch"],
      values: "power or binsearch",
      otherwise: "power",
    },
  ],
  ["initVal", number("batch size to begin at", "2")],
  ["maxTrials", number("how often the size grows", "25")],
  ["stepsPerTrial", number("steps with each size", "3")],
  [
    "save",
    { summary: "write the settings with what was found, for nbit fit --config", takes: ["text"], value: "FILE" },
  ],
]);

export const tune: Command = {
  name: "tune",
  summary: "look for a learning rate, or a batch size, by trying",
  usage: "FILE [--lr] [--batchSize] [--flag value]…",
  about: `Look for a learning rate, or the largest batch size that memory suffices for, and say which flags pass them on. Nothing is trained. FILE exports, as for nbit fit,

${FILE_EXPORTS}

The model has lr (or learningRate) as a field or a hyper-parameter; model or data have batchSize.`,
  words: { most: 1, what: "one file", files: true },
  sections: SECTIONS,
  groups: [
    { title: "What is looked for", flags: OWN },
    { title: "Settings", flags: CONFIG_FLAGS },
    { title: "Parts", flags: PARTS_FLAGS },
    ...trainerGroups(),
    { title: "This command", flags: VERBOSE },
  ],
  async help(call) {
    const settings = settingsOf(call, process.env, { own: [...OWN.keys()] });
    if (textOf("tune", settings, "file") === null) return null;
    const { program } = await open("tune", settings);
    const { declaredGroups } = await import("../run/arguments-help.js");
    return helpText(call.command, await declaredGroups("tune", program, settings));
  },
  run,
};

async function run(call: Call): Promise<number> {
  const settings = settingsOf(call, process.env, { own: [...OWN.keys()] });
  const given = lastOf(call.flags);
  const batchSize = given.get("batchSize") === true;
  const lr = given.get("lr") === true || !batchSize;
  const { program, file, seed } = await open("tune", settings);
  const { prepare } = await import("../program/prepare.js");
  const { Tuner } = await import("@nbit/lightning");
  const { trainer, model, datamodule, config } = await prepare(settings, { command: "tune", file, ...program }, seed);
  const data =
    datamodule !== null
      ? { datamodule }
      : {
          trainDataloaders: await program.loaders("trainDataloaders"),
          valDataloaders: await program.loaders("valDataloaders"),
        };
  const tuner = new Tuner(trainer);
  const found: string[] = [];
  if (batchSize) {
    const size = await tuner.scaleBatchSize(model, {
      ...data,
      ...pick(given, {
        batchSizeMode: "mode",
        initVal: "initVal",
        maxTrials: "maxTrials",
        stepsPerTrial: "stepsPerTrial",
      }),
    });
    if (size === null) throw nothing("a batch size");
    console.log(`batchSize  ${size}`);
    found.push("batchSize");
  }
  if (lr) {
    const finder = await tuner.lrFind(model, {
      ...data,
      ...pick(given, { lrMode: "mode", minLr: "minLr", maxLr: "maxLr", numTraining: "numTraining" }),
    });
    const suggestion = finder?.suggestion() ?? null;
    if (finder === null || suggestion === null) throw nothing("a learning rate");
    console.log(`lr  ${suggestion}`);
    const plot = given.get("plot");
    if (typeof plot === "string") console.log(plainText(`plot  ${finder.plot({ suggest: true, path: plot })}`));
    found.push("lr", "learningRate");
  }
  const flags = [flagsFor("model", model.hparams, found), flagsFor("data", datamodule?.hparams ?? {}, found)].flat();
  if (flags.length > 0) console.log(plainText(`Train with it: nbit fit ${quoteForShell(file)} ${flags.join(" ")}`));
  const save = given.get("save");
  if (typeof save === "string") {
    const { configText } = await import("../settings/dump.js");
    const { writeText } = await import("@nbit/torch/files");
    const tuned = {
      ...config,
      model: updated(config.model, model.hparams),
      data: updated(config.data, datamodule?.hparams ?? {}),
    };
    writeText("nbit tune", save, configText(tuned));
    console.log(plainText(`settings  ${save}`));
  }
  return 0;
}

function nothing(what: string): CommandError {
  return new CommandError(
    "ERR_TUNE",
    `nbit tune: expected a run that shows ${what}. Received: too few steps, or --fastDevRun. Raise --numTraining, or --maxTrials.`,
  );
}

/** What was given, under the names of Tuner's options. */
function pick(given: ReadonlyMap<string, unknown>, names: Readonly<Record<string, string>>): object {
  return Object.fromEntries(
    Object.entries(names).flatMap(([flag, option]) => (given.has(flag) ? [[option, given.get(flag)] as const] : [])),
  );
}

function flagsFor(section: string, hparams: Readonly<Record<string, unknown>>, found: readonly string[]): string[] {
  return found.flatMap((name) =>
    Object.hasOwn(hparams, name) ? [`--${section}.${name} ${quoteForShell(String(hparams[name]))}`] : [],
  );
}

/** Arguments as they are now, where a file of settings says them. */
function updated<T>(before: T, hparams: Readonly<Record<string, unknown>>): T | Readonly<Record<string, unknown>> {
  if (!isPlain(before)) return before;
  if (!("classPath" in before)) return { ...before, ...hparams };
  return { ...before, initArgs: { ...hparams } };
}
