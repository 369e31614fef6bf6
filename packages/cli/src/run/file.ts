/** The user's file. Loads no libtorch. */
import { existsSync, statSync } from "node:fs";
import { extname, resolve } from "node:path";
import { CommandError } from "../errors.js";

/**
 * @throws {CommandError} `ERR_FILE`: no such file, or one that is no module. `ERR_TYPESCRIPT`: TypeScript that nothing
 * here can read.
 */
export function findFile(command: string, file: string | null): string {
  if (file === null)
    throw new CommandError(
      "ERR_FILE",
      `nbit ${command}: expected a module file, such as train.ts. Received: none. \`nbit ${command} --help\` shows an example.`,
    );
  const path = resolve(file);
  if (!existsSync(path))
    throw new CommandError(
      "ERR_FILE",
      `nbit ${command}: expected a module file. Received: ${file}, which does not exist.`,
    );
  if (!statSync(path).isFile() || ![".js", ".mjs", ".ts", ".mts"].includes(extname(path)))
    throw new CommandError(
      "ERR_FILE",
      `nbit ${command}: expected a file that ends in .js, .mjs, .ts or .mts. Received: ${file}.`,
    );
  return path;
}
