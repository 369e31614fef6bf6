import { SetupError } from "@nbit/native/setup";
import { plainText, quoted } from "@nbit/torch/files";
import { atMost, checkArguments, kinds } from "@nbit/torch/options";
import { commands, help } from "./commands/index.js";
import { CommandError } from "./errors.js";

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
  const [name = "help", ...rest] = args;
  const command = commands.get(ALIASES.get(name) ?? name);
  if (command === undefined) {
    console.error(`nbit: expected a command of ${[...commands.keys()].join(", ")}. Received: ${quoted(name)}.\n`);
    await help.run([]);
    return 2;
  }
  const unknown = rest.filter((arg) => !command.options.has(arg));
  if (unknown.length > 0 && command.readsArguments !== true) {
    const known = [...command.options.keys()];
    console.error(
      `nbit ${command.name}: expected ${known.length > 0 ? `no arguments but ${known.join(", ")}` : "no arguments"}. Received: ${plainText(unknown.join(" "))}.`,
    );
    return 2;
  }
  try {
    return await command.run(rest);
  } catch (error) {
    if (error instanceof SetupError) {
      console.error(plainText(error.message, "\n")); // begins with its code
      return 1;
    }
    const code = misused(error);
    if (code === null) throw error;
    console.error(plainText(`${code}: ${(error as Error).message}`, "\n"));
    return 2;
  }
}

/**
 * The code of an error that is about how the program was called or configured, where a stack would say nothing more;
 * else null.
 */
function misused(error: unknown): string | null {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return null;
  return error instanceof CommandError || error.name === "MisconfigurationError" ? error.code : null;
}

const ALIASES: ReadonlyMap<string, string> = new Map([
  ["-h", "help"],
  ["--help", "help"],
  ["-v", "version"],
  ["--version", "version"],
]);
