/** What a launch is told, checked before anything starts. */
import { randomUUID } from "node:crypto";
import { accessSync, constants, statSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { delimiter, join, resolve } from "node:path";
import { ArgumentError, verbatim } from "../../errors.js";
import { byDefault, filled, flag, isPlain, orNull, real, such, whole } from "../../kinds.js";
import { checkArguments, checkOptions, withDefaults } from "../../options.js";
import { quoted } from "../../plain-text.js";
import { isError } from "../../realm.js";

export interface LaunchOptions {
  /** How many processes this machine runs, ≥ 1. Others may run more or fewer. */
  readonly n: number;
  /** How many machines take part; each runs `launch` once. Default 1. */
  readonly nnodes?: number;
  /** This machine's place among them, from 0. To be given where there are several. */
  readonly nodeRank?: number | null;
  /** Name or address of machine 0. To be given where there are several; one machine takes 127.0.0.1. */
  readonly masterAddr?: string | null;
  /**
   * One machine: the store's port; default: any free one. Several: the port at which they meet on machine 0; default
   * 29500.
   */
  readonly masterPort?: number | null;
  /** How often all ranks are started again after a failure; machine 0's counts. Default 0. */
  readonly maxRestarts?: number;
  /** A folder for what each rank writes, `rank-0.log` and so on; stdout of ranks above 0 is then there only. */
  readonly logDir?: string | null;
  /** Whether stdout of ranks above 0 is dropped (from the screen, where there is a `logDir`). Default false. */
  readonly quiet?: boolean;
  /** How long ranks have after SIGTERM, when another has failed, before SIGKILL ends them. Default 800. */
  readonly graceMs?: number;
  /**
   * The same after a signal, when ranks write their checkpoints and one of them ends with an error. Default 30,000.
   */
  readonly interruptGraceMs?: number;
  /** Folder in which the ranks run. Default: that of this process. */
  readonly cwd?: string | null;
  /** Variables for the ranks besides those of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const variables = such<Readonly<Record<string, string | undefined>>>(
  "an object of strings",
  (v) => isPlain(v) && Object.values(v).every((one) => one === undefined || typeof one === "string"),
);
const ROWS = {
  n: whole("[1, 65536]"),
  nnodes: byDefault(1, whole("[1, 65536]")),
  nodeRank: byDefault(null, orNull(whole("[0, 65535]"))),
  masterAddr: byDefault(null, orNull(filled)),
  masterPort: byDefault(null, orNull(whole("[1, 65535]"))),
  maxRestarts: byDefault(0, whole("[0, ∞)")),
  logDir: byDefault(null, orNull(filled)),
  quiet: byDefault(false, flag),
  graceMs: byDefault(800, real("[0, 2147483647]")),
  interruptGraceMs: byDefault(30_000, real("[0, 2147483647]")),
  cwd: byDefault(null, orNull(filled)),
  env: byDefault({}, variables),
};

/** Options as they count, with nothing left open. */
export interface Settings {
  /** Of this launch: ranks that were started again know their checkpoints by it. */
  readonly runId: string;
  readonly n: number;
  readonly nnodes: number;
  readonly nodeRank: number;
  readonly masterAddr: string;
  /** 0: any free one. */
  readonly masterPort: number;
  readonly maxRestarts: number;
  readonly logDir: string | null;
  readonly quiet: boolean;
  readonly graceMs: number;
  readonly interruptGraceMs: number;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** PyTorch's customary port, where several machines must know it before they meet. */
const DEFAULT_PORT = 29500;

/**
 * Checks everything that can be known before a process starts.
 * @throws {ArgumentError} `ERR_ARGUMENT`, or `ERR_LAUNCH_HOST` for a host that nobody knows.
 */
export async function settle(fn: string, options: LaunchOptions): Promise<Settings> {
  checkOptions(fn, options, ROWS);
  checkArguments(fn, { n: options.n }, { n: ROWS.n });
  const given = withDefaults(options, ROWS);
  const { nnodes, nodeRank, masterAddr, masterPort } = given;
  const several = nnodes > 1;
  if (several && (nodeRank === null || masterAddr === null))
    throw new ArgumentError(
      fn,
      "nodeRank and masterAddr, where several machines take part",
      verbatim(`nnodes ${nnodes}, nodeRank ${nodeRank}, masterAddr ${masterAddr}`),
      "Machine 0 is the one at masterAddr; the others are 1, 2 and so on.",
    );
  if (nodeRank !== null && nodeRank >= nnodes)
    throw new ArgumentError(
      fn,
      "nodeRank to be less than nnodes",
      verbatim(`nodeRank ${nodeRank}, nnodes ${nnodes}`),
      "Machines count from 0.",
    );
  if (several && masterAddr !== null) await checkHost(fn, masterAddr);
  const cwd = resolve(given.cwd ?? ".");
  if (statSync(cwd, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new ArgumentError(fn, "cwd to be a folder", given.cwd ?? cwd);
  return {
    ...given,
    runId: randomUUID(),
    n: options.n,
    nodeRank: nodeRank ?? 0,
    masterAddr: masterAddr ?? "127.0.0.1",
    masterPort: masterPort ?? (several ? DEFAULT_PORT : 0),
    cwd,
  };
}

async function checkHost(fn: string, host: string): Promise<void> {
  try {
    await lookup(host);
  } catch (error) {
    const code = isError(error) && "code" in error ? String(error.code) : "unknown";
    throw new ArgumentError(
      fn,
      "masterAddr to be a host that this machine knows",
      verbatim(`${quoted(host)}: ${code}`),
      "Check its spelling, or give an address such as those that `hostname -I` prints on it.",
      "ERR_LAUNCH_HOST",
    );
  }
}

/**
 * @throws {ArgumentError} `ERR_LAUNCH_COMMAND`: no program of that name, neither a path nor in a folder of PATH, or one
 * that may not be run.
 */
export function checkCommand(
  fn: string,
  command: readonly string[],
  { cwd, env }: Pick<Settings, "cwd" | "env">,
): void {
  const [file = ""] = command;
  const folders = file.includes("/") ? [""] : (env["PATH"] ?? process.env["PATH"] ?? "").split(delimiter);
  if (file !== "" && folders.some((folder) => isProgram(folder === "" ? resolve(cwd, file) : join(folder, file))))
    return;
  throw new ArgumentError(
    fn,
    "a command that can be run",
    file === "" ? command : file,
    "Give a path, or the name of a program that a folder of PATH has.",
    "ERR_LAUNCH_COMMAND",
  );
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // not there, or not for this user
  }
}
