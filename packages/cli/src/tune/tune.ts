/** What `nbit tune` does. Loads libtorch once the settings are known to be good. */
import { plainText } from "@nbit/torch/files";
import { isPlain } from "@nbit/torch/realm";
import { lastOf, type Call } from "../command.js";
import { CommandError } from "../errors.js";
import { open } from "../run/open.js";
import { settingsOf } from "../run/settings.js";
import { quoteForShell } from "../terminal/quote.js";

/** @param own - Settings of the command itself. @returns the exit status. */
export async function tuneBy(call: Call, own: readonly string[]): Promise<number> {
  const settings = settingsOf(call, process.env, { own });
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
