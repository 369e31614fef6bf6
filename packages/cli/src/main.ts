import { plainText } from "@nbit/torch/messages";
import { atMost, checkArguments, kinds } from "@nbit/torch/options";
import { isError } from "@nbit/torch/realm";
import { commandFirst, readArguments } from "./arguments/read.js";
import { unknownCommand } from "./commands/help.js";
import { commands } from "./commands/index.js";
import { CommandError } from "./errors.js";
import { helpText } from "./help/text.js";
import { codeText, moreOf } from "./terminal/errors.js";

/**
 * Runs one command of `nbit`.
 *
 * @param args - The command's name and its own arguments, as in `process.argv.slice(2)`.
 * @returns The exit status: 0 when all is well, 1 when the command found or met a problem, 2 when it was called
 * wrongly.
 */
export async function main(args: readonly string[]): Promise<number> {
  atMost("main", arguments, 1);
  checkArguments("main", { args }, { args: kinds.listOf(kinds.text) });
  try {
    return await carryOut(args);
  } catch (error) {
    if (isError(error) && error.name === "SetupError") {
      console.error([plainText(error.message, "\n"), ...moreOf(error)].join("\n")); // begins with its code
      return 1;
    }
    if (!isMisuse(error)) throw error;
    console.error(codeText(error));
    return 2;
  }
}

async function carryOut(args: readonly string[]): Promise<number> {
  const [name = "help", ...rest] = commandFirst(args);
  const command = commands.get(ALIASES.get(name) ?? name);
  if (command === undefined) throw unknownCommand(name, commands.values());
  const call = readArguments(command, rest);
  if (!call.help) return command.run(call);
  console.log((await command.help?.(call)) ?? helpText(command));
  return 0;
}

/** Whether an error is about how the program was called or configured: a stack would say nothing more. */
function isMisuse(error: unknown): error is Error {
  if (!isError(error) || !("code" in error) || typeof error.code !== "string") return false;
  return error instanceof CommandError || error.name === "MisconfigurationError";
}

const ALIASES: ReadonlyMap<string, string> = new Map([
  ["-h", "help"],
  ["--help", "help"],
  ["-v", "version"],
  ["--version", "version"],
]);
