/** A program that runs up to its fit, to say what that would do. */
import { pathToFileURL } from "node:url";
import { Callback, seedEverything, Trainer, type TrainerOptions } from "@nbit/lightning";
import { AheadCompilation, rehearse, SILENT_FIT, type Rehearsal } from "@nbit/lightning/rehearsal";
import { CommandError } from "../errors.js";
import type { FlagValue } from "../run/flags.js";
import { loadProgram } from "../run/program.js";
import { enableTypeScript, explainTypeScript } from "../run/typescript.js";

export interface Asked {
  /** The file, absolute, and as it was given. */
  readonly path: string;
  readonly file: string;
  /** The program's own. */
  readonly arguments: readonly string[];
  readonly seed: number | null;
  /** What to compile for; null: say what the program's own Trainer does. */
  readonly topology: string | null;
  readonly plugin: string | null;
  readonly json: boolean;
  /** Options that go before the program's own. */
  readonly trainer: Readonly<Record<string, FlagValue>>;
}
/** As text and as data. */
type Said = object;

/** @throws what the program throws, what stands in the way of compiling, or {CommandError} `ERR_NO_FIT`. */
export async function rehearsed(asked: Asked): Promise<Said> {
  if (asked.seed !== null) seedEverything(asked.seed);
  process.argv = [process.execPath, asked.path, ...asked.arguments];
  if (asked.path.endsWith("ts")) await enableTypeScript("explain", asked.path);
  const rehearsal = rehearsalOf(asked);
  return new Promise<Said>((resolve, reject) => {
    rehearse({
      options: (given) => rehearsal.options(Object.assign({ ...given }, asked.trainer)),
      // A program that has said what it would do goes no further: its fit never ends.
      fit: (trainer, fit) => {
        rehearsal.say(trainer, fit).then(resolve, reject);
        return new Promise<never>(() => undefined);
      },
    });
    // Whatever the program waits for, nothing is left that could call fit.
    process.once("beforeExit", () => reject(noFit(asked)));
    run(asked).catch(reject);
  });
}

interface Sayer extends Pick<Rehearsal, "options"> {
  say(...args: Parameters<Rehearsal["fit"]>): Promise<Said>;
}

function rehearsalOf({ topology, plugin }: Asked): Sayer {
  if (topology === null) return OWN;
  const compilation = new AheadCompilation(topology, plugin);
  return { options: (given) => compilation.options(given), say: (trainer, fit) => compilation.report(trainer, fit) };
}

/** Ends a fit before its first batch. */
class Ready extends Error {
  override readonly name = "Ready";
}
class StopAtStart extends Callback {
  override onTrainStart(): void {
    throw new Ready("everything is set up");
  }
}
/** What the program's own Trainer does, when everything of its fit is there and nothing has run. */
const OWN: Sayer = {
  options: (given) => ({ ...given, ...SILENT_FIT, callbacks: [new StopAtStart()] }),
  async say(trainer, fit) {
    try {
      await fit();
    } catch (error) {
      if (!(error instanceof Ready)) throw error;
    }
    return trainer.precision.explain({ print: false });
  },
};

/** Import it: a program calls fit, or exports a model for which this does. */
async function run(asked: Asked): Promise<void> {
  let exported: object;
  try {
    exported = (await import(pathToFileURL(asked.path).href)) as object;
  } catch (error) {
    throw explainTypeScript("explain", error);
  }
  if (!("model" in exported) && !("default" in exported)) return; // what it has begun may call fit yet
  const { model, trainer, loaders } = await loadProgram("explain", asked.path, asked.file);
  const options: TrainerOptions = trainer;
  await new Trainer(options).fit(model, { trainDataloaders: await loaders("trainDataloaders") });
}

function noFit({ file }: Asked): CommandError {
  return new CommandError(
    "ERR_NO_FIT",
    `nbit explain: expected ${file} to call trainer.fit, or to export model and trainDataloaders as for nbit fit. Received: a program that ended without.`,
  );
}
