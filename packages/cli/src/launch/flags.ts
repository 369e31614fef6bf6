/** Flags of `nbit run`: those before the script are its own, all that comes after belongs to the script. */
import { nearest } from "@nbit/torch/names";
import type { LaunchOptions } from "@nbit/torch/distributed/run"; // loads no libtorch
import { CommandError } from "../errors.js";

interface Flag {
  readonly short?: string;
  readonly takes: "number" | "text" | "switch";
  /** What its value is called in the help. */
  readonly value?: string;
  readonly option: keyof LaunchOptions;
  /** The variable of torchrun's that says it where the flag does not. */
  readonly variable?: string;
  readonly summary: string;
}

const FLAGS: ReadonlyMap<string, Flag> = new Map<string, Flag>([
  [
    "nproc-per-node",
    {
      short: "n",
      takes: "number",
      value: "N",
      option: "n",
      variable: "PET_NPROC_PER_NODE",
      summary: "processes on this machine",
    },
  ],
  [
    "nnodes",
    { takes: "number", value: "M", option: "nnodes", variable: "PET_NNODES", summary: "machines; default: 1" },
  ],
  [
    "node-rank",
    {
      takes: "number",
      value: "I",
      option: "nodeRank",
      variable: "PET_NODE_RANK",
      summary: "this machine's place among them, from 0",
    },
  ],
  [
    "master-addr",
    {
      takes: "text",
      value: "HOST",
      option: "masterAddr",
      variable: "PET_MASTER_ADDR",
      summary: "name or address of machine 0",
    },
  ],
  [
    "master-port",
    {
      takes: "number",
      value: "P",
      option: "masterPort",
      variable: "PET_MASTER_PORT",
      summary: "its port; default: any free one, 29500 for several machines",
    },
  ],
  [
    "max-restarts",
    {
      takes: "number",
      value: "K",
      option: "maxRestarts",
      variable: "PET_MAX_RESTARTS",
      summary: "how often a failure starts all ranks again; default: 0",
    },
  ],
  [
    "log-dir",
    { takes: "text", value: "DIR", option: "logDir", summary: "a folder for what each rank writes: rank-0.log, …" },
  ],
  ["quiet", { takes: "switch", option: "quiet", summary: "show stdout of rank 0 only, and errors of all" }],
]);

export interface Parsed {
  readonly help: boolean;
  readonly script: string | null;
  /** For the script. */
  readonly args: readonly string[];
  /** Of `launch`, by name. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/**
 * Reads `-n 2 --max-restarts=1 SCRIPT ARGS…`; the last of a name counts, and what is not given is read from torchrun's
 * variables PET_….
 * @throws {CommandError} `ERR_FLAG` for an unknown flag, `ERR_FLAG_VALUE` for a value that is none.
 */
export function parseRunFlags(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Parsed {
  const options: Record<string, string | number | boolean> = {};
  const rest = [...args];
  let help = false;
  let script: string | null = null;
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--help" || arg === "-h") {
      help = true;
      continue;
    }
    if (arg === "--" || !arg.startsWith("-")) {
      script = arg === "--" ? (rest.shift() ?? null) : arg;
      break;
    }
    const [, written = arg, given] = /^([^=]+)=(.*)$/s.exec(arg) ?? [];
    const { flag, name } = find(written);
    if (flag.takes === "switch" && given === undefined) {
      options[flag.option] = true;
      continue;
    }
    const value = given ?? rest.shift();
    if (value === undefined)
      throw new CommandError(
        "ERR_FLAG_VALUE",
        `nbit run: expected a value after ${name} (${flag.summary}). Received: the end of the line.`,
      );
    options[flag.option] = read(name, flag.takes, value);
  }
  return { help, script, args: rest, options: { ...fromVariables(options, env), ...options } };
}

/** What torchrun's variables say and flags do not. */
function fromVariables(given: Parsed["options"], env: Readonly<Record<string, string | undefined>>): Parsed["options"] {
  const found: Record<string, string | number | boolean> = {};
  for (const { variable, option, takes } of FLAGS.values()) {
    const text = variable === undefined ? undefined : env[variable];
    if (variable === undefined || text === undefined || text === "" || option in given) continue;
    if (option === "n" && ["auto", "cpu", "gpu"].includes(text)) continue; // says nothing: Kubernetes sets it so
    found[option] = read(variable, takes, text);
  }
  // One machine needs nobody's address, and takes any free port.
  return (given["nnodes"] ?? found["nnodes"] ?? 1) === 1 ? withoutMaster(found) : found;
}

function withoutMaster({ masterAddr: _addr, masterPort: _port, ...rest }: Parsed["options"]): Parsed["options"] {
  return rest;
}

function find(written: string): { readonly flag: Flag; readonly name: string } {
  const bare = written.replace(/^--?/, "");
  for (const [long, flag] of FLAGS) {
    if (written === `--${long}` || written === `--${long.replaceAll("-", "_")}`) return { flag, name: `--${long}` };
    if (flag.short !== undefined && written === `-${flag.short}`) return { flag, name: written };
  }
  const near = nearest(bare, FLAGS.keys());
  throw new CommandError(
    "ERR_FLAG",
    `nbit run: expected ${near === null ? "a flag that it knows" : `--${near}`}. Received: ${written}. \`nbit run --help\` lists them; flags of the script come after it.`,
  );
}

function read(name: string, takes: Flag["takes"], text: string): string | number | boolean {
  if (takes === "number" && /^\d+$/.test(text)) return Number(text);
  if (takes === "text" && text !== "") return text;
  if (takes === "switch" && (text === "true" || text === "false")) return text === "true";
  const words = { number: "a whole number", text: "text", switch: "true or false" }[takes];
  throw new CommandError(
    "ERR_FLAG_VALUE",
    `nbit run: expected ${name} to be ${words}. Received: ${JSON.stringify(text)}.`,
  );
}

/** One line per flag. */
export function runFlagLines(): string[] {
  return [...FLAGS].map(([long, { short, value, summary }]) => {
    const name = `${short === undefined ? "" : `-${short}, `}--${long}${value === undefined ? "" : ` ${value}`}`;
    return `  ${name.padEnd(26)}${summary}`;
  });
}

/** A message about options of `launch`, with the flags that set them. */
export function namingFlags(message: string): string {
  return [...FLAGS].reduce(
    (text, [long, { option }]) =>
      option === "n" ? text : text.replace(new RegExp(`\\b${option}\\b`, "g"), `--${long}`),
    message,
  );
}
