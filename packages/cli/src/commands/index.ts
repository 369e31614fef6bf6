import type { Command } from "../command.js";
import { clean } from "./clean.js";
import { completionOf } from "./completion.js";
import { consolidate } from "./consolidate.js";
import { doctor } from "./doctor.js";
import { explain } from "./explain.js";
import { explainError } from "./explain-error.js";
import { helpOn } from "./help.js";
import { init } from "./init.js";
import { run } from "./launch.js";
import { report } from "./report.js";
import { runCommands } from "./run.js";
import { setup } from "./setup.js";
import { tune } from "./tune.js";
import { version } from "./version.js";
import { xla } from "./xla.js";

const completion = completionOf(() => [...commands.values()]);
const others = [
  init,
  ...runCommands,
  tune,
  report,
  explain,
  explainError,
  run,
  consolidate,
  xla,
  doctor,
  setup,
  clean,
  completion,
  version,
];
/** What is run when there is no command. */
export const help = helpOn(others);

/** The table: by name, in the order in which `nbit help` lists them. */
export const commands: ReadonlyMap<string, Command> = new Map(
  [...others, help].map((command) => [command.name, command]),
);
