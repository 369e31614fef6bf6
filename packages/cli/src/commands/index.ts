import type { Command } from "../command.js";
import { consolidate } from "./consolidate.js";
import { doctor } from "./doctor.js";
import { explain } from "./explain.js";
import { helpOn } from "./help.js";
import { run } from "./launch.js";
import { runCommands } from "./run.js";
import { setup } from "./setup.js";
import { version } from "./version.js";
import { xla } from "./xla.js";

const others = [doctor, setup, ...runCommands, explain, run, consolidate, xla, version];
/** What is run when there is no command, or none of that name. */
export const help = helpOn(others);

/** By name, in the order in which `nbit help` lists them. */
export const commands: ReadonlyMap<string, Command> = new Map(
  [...others, help].map((command) => [command.name, command]),
);
