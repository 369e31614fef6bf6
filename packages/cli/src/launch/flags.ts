/** Flags of `nbit run`: those before the script are its own, all that comes after belongs to the script. */
import type { LaunchOptions } from "@nbit/torch/distributed/run"; // loads no libtorch
import { readValue } from "../arguments/value.js";
import type { Call, Flag, Flags, FlagValue } from "../command.js";

interface LaunchFlag extends Flag {
  readonly option: keyof LaunchOptions;
  /** The variable of torchrun's that says it where the flag does not. */
  readonly variable?: string;
}
const number = (
  option: keyof LaunchOptions,
  value: string,
  summary: string,
  more: Partial<LaunchFlag> = {},
): LaunchFlag => ({ option, takes: ["number"], value, summary, ...more });

const ROWS: ReadonlyMap<string, LaunchFlag> = new Map<string, LaunchFlag>([
  ["nproc-per-node", number("n", "N", "processes on this machine", { short: "n", variable: "PET_NPROC_PER_NODE" })],
  ["nnodes", number("nnodes", "M", "machines", { variable: "PET_NNODES", otherwise: "1" })],
  ["node-rank", number("nodeRank", "I", "this machine's place among them, from 0", { variable: "PET_NODE_RANK" })],
  [
    "master-addr",
    {
      option: "masterAddr",
      takes: ["text"],
      value: "HOST",
      variable: "PET_MASTER_ADDR",
      summary: "name or address of machine 0",
    },
  ],
  [
    "master-port",
    number("masterPort", "P", "its port", {
      variable: "PET_MASTER_PORT",
      otherwise: "any free one, 29500 for several machines",
    }),
  ],
  [
    "max-restarts",
    number("maxRestarts", "K", "how often a failure starts all ranks again", {
      variable: "PET_MAX_RESTARTS",
      otherwise: "0",
    }),
  ],
  [
    "log-dir",
    { option: "logDir", takes: ["text"], value: "DIR", summary: "a folder for what each rank writes: rank-0.log, …" },
  ],
  ["quiet", { option: "quiet", takes: ["switch"], summary: "show stdout of rank 0 only, and errors of all" }],
]);
export const LAUNCH_FLAGS: Flags = ROWS;

type Given = Readonly<Record<string, FlagValue>>;

/**
 * Options of `launch`, by name: flags, and what is not given from torchrun's variables PET_….
 * @throws {CommandError} `ERR_FLAG_VALUE` for a variable that is none.
 */
export function launchOptions(
  { flags }: Pick<Call, "flags">,
  env: Readonly<Record<string, string | undefined>>,
): Given {
  const given = Object.fromEntries(
    flags.flatMap(({ name, value }) => {
      const row = ROWS.get(name);
      return row === undefined ? [] : [[row.option, value] as const];
    }),
  );
  return { ...fromVariables(given, env), ...given };
}

/** What torchrun's variables say and flags do not. */
function fromVariables(given: Given, env: Readonly<Record<string, string | undefined>>): Given {
  const found: Record<string, FlagValue> = {};
  for (const flag of ROWS.values()) {
    const { variable, option } = flag;
    const text = variable === undefined ? undefined : env[variable];
    if (variable === undefined || text === undefined || text === "" || option in given) continue;
    if (option === "n" && ["auto", "cpu", "gpu"].includes(text)) continue; // says nothing: Kubernetes sets it so
    found[option] = readValue("run", variable, flag, text);
  }
  // One machine needs nobody's address, and takes any free port.
  return (given["nnodes"] ?? found["nnodes"] ?? 1) === 1 ? withoutMaster(found) : found;
}

function withoutMaster({ masterAddr: _addr, masterPort: _port, ...rest }: Given): Given {
  return rest;
}

/** A message about options of `launch`, with the flags that set them. */
export function namingFlags(message: string): string {
  return [...ROWS].reduce(
    (text, [long, { option }]) =>
      option === "n" ? text : text.replace(new RegExp(`\\b${option}\\b`, "g"), `--${long}`),
    message,
  );
}
