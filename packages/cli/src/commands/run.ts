import { plainText } from "@nbit/torch/files";
import type { Command } from "../command.js";
import { findFile } from "../run/file.js";
import { flagLines, parseFlags, type Parsed } from "../run/flags.js";
import type { LoaderExport, Program } from "../run/program.js";

type Kind = "fit" | "validate" | "test" | "predict";
const SUMMARIES: Readonly<Record<Kind, string>> = {
  fit: "train the model of a module file",
  validate: "run its validation step over its validation data",
  test: "run its test step over its test data",
  predict: "run its predict step over its data",
};

const help = (kind: Kind): string => `Usage: nbit ${kind} FILE [--flag value]…

${SUMMARIES[kind][0]?.toUpperCase() ?? ""}${SUMMARIES[kind].slice(1)}. FILE is a module (.js, .mjs, .ts, .mts) that exports

  model             a LightningModule, its class, or a function that returns one (or as default)
  trainDataloaders  and valDataloaders, testDataloaders, predictDataloaders: a DataLoader, a list, or a
                    function that returns one. Left out: the model's own trainDataloader() and so on
  trainer           options of the Trainer, which flags override

Flags, named as in the Trainer; --name value or --name=value, a switch alone is true:

${flagLines().join("\n")}`;

/** `nbit fit` and its like: a module file with a model, its data and options; flags override options. */
function runCommand(kind: Kind): Command {
  return {
    name: kind,
    summary: `${SUMMARIES[kind]}: nbit ${kind} FILE; --help lists the flags`,
    options: new Map(),
    readsArguments: true,
    async run(args) {
      const parsed = parseFlags(kind, args);
      if (parsed.help) {
        console.log(help(kind));
        return 0;
      }
      const path = findFile(kind, parsed.file);
      const { loadProgram } = await import("../run/program.js"); // loads libtorch: not for --help
      if (parsed.seed !== null) (await import("@nbit/lightning")).seedEverything(parsed.seed);
      return execute(kind, parsed, args, await loadProgram(kind, path, parsed.file ?? path));
    },
  };
}

/** @param args - The call's own, to say how it is gone on with. */
async function execute(kind: Kind, parsed: Parsed, args: readonly string[], program: Program): Promise<number> {
  const { InterruptError, ModelCheckpoint, Trainer } = await import("@nbit/lightning");
  const trainer = new Trainer(Object.assign({ ...program.trainer }, parsed.trainer));
  const { ckptPath } = parsed;
  const of = (name: LoaderExport): ReturnType<Program["loaders"]> => program.loaders(name);
  try {
    if (kind === "fit") {
      await trainer.fit(program.model, {
        trainDataloaders: await of("trainDataloaders"),
        valDataloaders: await of("valDataloaders"),
        ckptPath,
      });
      for (const callback of trainer.callbacks)
        if (callback instanceof ModelCheckpoint && callback.bestModelPath !== "")
          console.log(`checkpoint  ${plainText(callback.bestModelPath)}`);
    } else if (kind === "predict") {
      await trainer.predict(program.model, {
        dataloaders: await of("predictDataloaders"),
        ckptPath,
        returnPredictions: false,
      });
    } else {
      const results = await trainer[kind](program.model, {
        dataloaders: await of(kind === "test" ? "testDataloaders" : "valDataloaders"),
        ckptPath,
      });
      for (const result of results)
        for (const [name, value] of Object.entries(result)) console.log(`${plainText(name)}  ${value}`);
    }
    return 0;
  } catch (error) {
    if (!(error instanceof InterruptError)) throw error;
    console.error(
      plainText(
        error.checkpointPath === null
          ? error.message
          : `nbit ${kind}: interrupted. Go on with: ${continuation(kind, args, error.checkpointPath)}`,
      ),
    );
    return error.exitCode;
  }
}

/** The same call, from a checkpoint: what was given, quoted for a shell where it must be. */
function continuation(kind: Kind, args: readonly string[], checkpoint: string): string {
  const kept = args.filter((arg, i) => !/^--?ckptPath(=|$)/.test(arg) && !/^--?ckptPath$/.test(args[i - 1] ?? ""));
  const quote = (arg: string): string => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`);
  return ["nbit", kind, ...kept, "--ckptPath", checkpoint].map(quote).join(" ");
}

export const runCommands: readonly Command[] = (["fit", "validate", "test", "predict"] as const).map(runCommand);
