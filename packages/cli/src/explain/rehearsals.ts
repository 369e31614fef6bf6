/** A program that runs up to its fit, to say what that would do. */
import { Callback } from "@nbit/lightning";
import { AheadCompilation, rehearse, SILENT_FIT, type Rehearsal } from "@nbit/lightning/rehearsal";
import { isClassOf } from "../classes/kinds.js";
import { CommandError } from "../errors.js";
import { prepare, seedRun } from "../program/prepare.js";
import { importModule } from "../run/import.js";
import { loadProgram } from "../run/program.js";
import type { Settings } from "../settings/settle.js";

export interface Asked {
  /** The file, absolute, and as it was given. */
  readonly path: string;
  readonly file: string;
  /** The program's own. */
  readonly arguments: readonly string[];
  /** What to compile for; null: say what the program's own Trainer does. */
  readonly topology: string | null;
  readonly plugin: string | null;
  readonly json: boolean;
  /** What goes before the program's own. */
  readonly settings: Settings;
}
/** As text and as data. */
type Said = object;

/** @throws what the program throws, what stands in the way of compiling, or {CommandError} `ERR_NO_FIT`. */
export async function rehearsed(asked: Asked): Promise<Said> {
  seedRun("explain", asked.settings);
  process.argv = [process.execPath, asked.path, ...asked.arguments];
  const rehearsal = rehearsalOf(asked);
  return new Promise<Said>((resolve, reject) => {
    rehearse({
      options: (given) => rehearsal.options({ ...given, ...Object.fromEntries(asked.settings.trainer) }),
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

const MODEL_NAMES = new Set(["model", "default"]);

/** Import it: a program calls fit, or exports a model for which this does. */
async function run({ path, file, settings }: Asked): Promise<void> {
  const exported = await importModule("explain", path);
  const isModule = Object.entries(exported).some(([name, value]) => MODEL_NAMES.has(name) || isClassOf("model", value));
  if (!isModule) return; // what it has begun may call fit yet
  const program = await loadProgram("explain", path, file, {
    model: settings.parts.model.choice !== null,
    data: settings.parts.data.choice !== null,
  });
  const { trainer, model, datamodule } = await prepare(settings, { command: "explain", file, ...program }, null);
  if (datamodule !== null) await trainer.fit(model, { datamodule });
  else await trainer.fit(model, { trainDataloaders: await program.loaders("trainDataloaders") });
}

function noFit({ file }: Asked): CommandError {
  return new CommandError(
    "ERR_NO_FIT",
    `nbit explain: expected ${file} to call trainer.fit, or to export model and trainDataloaders as for nbit fit. Received: a program that ended without.`,
  );
}
