/** The user's file, opened for a command. */
import type { Call } from "../command.js";
import { helpText } from "../help/text.js";
import { measureWide } from "../help/width.js";
import type { Settings } from "../settings/settle.js";
import { findFile } from "./file.js";
import type { Program } from "./program.js";
import { settingsOf, textOf } from "./settings.js";

export interface Opened {
  readonly program: Program;
  readonly file: string;
  readonly seed: number | null;
}
/** Seed, then load the file. Loads libtorch. */
export async function open(command: string, settings: Settings): Promise<Opened> {
  const { parts } = settings;
  const file = textOf(command, settings, "file");
  const chosen = { model: parts.model.choice !== null, data: parts.data.choice !== null };
  const { NO_PROGRAM, loadProgram } = await import("./program.js");
  const { seedRun } = await import("../program/prepare.js");
  if (file === null && chosen.model) {
    const seed = seedRun(command, settings);
    return { program: NO_PROGRAM, file: String(parts.model.choice?.value), seed };
  }
  const path = findFile(command, file);
  const seed = seedRun(command, settings);
  return { program: await loadProgram(command, path, file ?? path, chosen), file: file ?? path, seed };
}

/** With what the classes of its file declare; null: no file was named. @param own - Settings of the command itself. */
export async function helpOnFile(command: string, call: Call, own: readonly string[] = []): Promise<string | null> {
  const settings = settingsOf(call, process.env, { own });
  if (textOf(command, settings, "file") === null) return null;
  const { program } = await open(command, settings);
  await measureWide();
  const { declaredGroups } = await import("./arguments-help.js");
  return helpText(call.command, await declaredGroups(command, program, settings));
}
