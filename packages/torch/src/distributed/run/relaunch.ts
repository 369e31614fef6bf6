/** The program that runs, once more for each rank. */
import { existsSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { ArgumentError, verbatim } from "../../errors.js";
import { atMost } from "../../options.js";
import { supervise } from "./launch.js";
import { settle, type LaunchOptions } from "./options.js";

/** Where the program was started; its arguments may be paths from here, wherever it has gone since. */
const startedIn = process.cwd();

/**
 * Starts the running program again, once per rank, with the flags and arguments that it was given, and waits for all of
 * them, as {@link launch} does. What the program has done so far, each rank does again; what comes after is for the
 * ranks: exit with the code that this gives.
 *
 * @param n - Processes, ≥ 1.
 * @param options - As of {@link launch}.
 * @returns the exit code.
 * @throws {ArgumentError} `ERR_LAUNCH_COMMAND`: no script that could be started again, as in a REPL or a worker thread;
 * or this process is a rank itself.
 * @example
 * if (clusterEnvironment() === null) process.exit(await relaunch(2));
 */
export async function relaunch(n: number, options: Omit<LaunchOptions, "n"> = {}): Promise<number> {
  atMost("relaunch", arguments, 2);
  const settings = await settle("relaunch", { cwd: startedIn, ...options, n });
  const problem = problemOf();
  if (problem !== null)
    throw new ArgumentError(
      "relaunch",
      "a program that can be started again for each rank",
      verbatim(problem),
      "Put it into a file and start that, or start the ranks by `nbit run`.",
      "ERR_LAUNCH_COMMAND",
    );
  const [, ...args] = process.argv;
  return supervise((localRank) => [process.execPath, ...flagsFor(process.execArgv, localRank), ...args], settings);
}

/** Why the program cannot be started again; null: it can. */
function problemOf(): string | null {
  if (!isMainThread) return "a worker thread";
  if (process.env["NBIT_LAUNCHER"] !== undefined) return "one of the ranks";
  if (process.execArgv.some((flag) => /^(-e|-p|-pe|--eval|--print)(=|$)/.test(flag))) return null;
  const [, script = "-"] = process.argv;
  if (script === "-" || script === "") return "a program from standard input, or a REPL";
  return ["", ".js", ".cjs", ".mjs", "/index.js"].some((ending) => existsSync(script + ending))
    ? null
    : `${script}, which does not exist`;
}

/** Node's flags, with a debugger's port for each rank: that of the first process is taken. */
export function flagsFor(flags: readonly string[], localRank: number): string[] {
  return flags.map((flag) => {
    const [whole, name, host = "", port = "9229"] =
      /^(--inspect(?:-brk|-wait|-port)?)(?:=(?:(.*):)?(\d+)?)?$/.exec(flag) ?? [];
    if (whole === undefined || Number(port) === 0) return flag;
    return `${name}=${host === "" ? "" : `${host}:`}${Number(port) + 1 + localRank}`;
  });
}
