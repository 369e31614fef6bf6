import type { Command } from "../command.js";
import { doctor } from "./doctor.js";
import { help } from "./help.js";
import { runCommands } from "./run.js";
import { setup } from "./setup.js";
import { version } from "./version.js";

/** By name, in the order in which `nbit help` lists them. */
export const commands: ReadonlyMap<string, Command> = new Map([doctor, setup, ...runCommands, version, help].map((command) => [command.name, command]));
