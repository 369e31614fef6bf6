/** `nbit clean`: what set-up and runs have left in the cache. */
import { existsSync, lstatSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { plainText } from "@nbit/torch/messages";
import { isError } from "@nbit/torch/realm";
import { formatBytes } from "@nbit/torch/format";
import { lastOf, type Command } from "../command.js";
import { CommandError } from "../errors.js";
import { table, columns } from "../help/text.js";
import { measureWide } from "../help/width.js";

interface Kind {
  readonly pattern: RegExp;
  readonly what: string;
  /** It comes back by itself, or by compiling. False: it would have to be fetched again. */
  readonly rebuilt: boolean;
}
const KINDS: readonly Kind[] = [
  { pattern: /^libtorch-.*-cpu$/, what: "libtorch for CPUs, fetched by nbit setup", rebuilt: false },
  { pattern: /^libtorch-/, what: "libtorch for CUDA with NVIDIA's libraries, fetched by nbit setup", rebuilt: false },
  {
    pattern: /^tensorflow-cpu-/,
    what: "what the plugin for CPUs is built of, fetched by nbit setup --xla",
    rebuilt: false,
  },
  { pattern: /^libtpu-/, what: "libtpu, fetched by nbit setup --tpu", rebuilt: false },
  { pattern: /^xla-cpu-/, what: "the plugin that runs XLA programs on the CPU", rebuilt: false },
  { pattern: /^addon-/, what: "the addon for one libtorch; each installed package has its own copy", rebuilt: true },
  { pattern: /^xla-host-/, what: "a compiled addon that loads plugins", rebuilt: true },
  { pattern: /^objects$/, what: "object files, which make compiling again faster", rebuilt: true },
  { pattern: /^kernels$/, what: "machine code of kernels, made for the GPU at their first use", rebuilt: true },
  { pattern: /^downloads$/, what: "downloads, whole and unfinished", rebuilt: true },
  { pattern: /^(nvrtc|clang-format-)/, what: "a tool of nbit's own development", rebuilt: false },
  { pattern: /\.lock$/, what: "the mark of a set-up that runs, or was ended", rebuilt: true },
  { pattern: /^xla-programs$/, what: "programs that were compiled for devices of XLA's", rebuilt: true },
];
const UNKNOWN: Omit<Kind, "pattern"> = { what: "something that no part of nbit is known to have left", rebuilt: false };

export interface CacheEntry {
  readonly path: string;
  readonly name: string;
  readonly what: string;
  readonly bytes: number;
  readonly rebuilt: boolean;
  /** Nothing runs here without it. */
  readonly inUse: boolean;
}

/** Everything in the cache, the largest first. Without a cache: nothing. */
export function cacheEntries(folder: string, needed: readonly string[]): CacheEntry[] {
  return namesIn(folder)
    .map((name) => {
      const path = join(folder, name);
      const { what, rebuilt } = KINDS.find(({ pattern }) => pattern.test(name)) ?? UNKNOWN;
      const inUse = needed.some((each) => each === path || each.startsWith(`${path}/`));
      return { path, name, what, rebuilt, inUse, bytes: sizeOf(path) };
    })
    .sort((a, b) => b.bytes - a.bytes || a.name.localeCompare(b.name));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // there is no cache yet
  }
}

/** Of files, links not followed; what goes away meanwhile counts nothing. */
function sizeOf(path: string): number {
  try {
    const stat = lstatSync(path);
    if (!stat.isDirectory()) return stat.size;
    return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
  } catch {
    return 0;
  }
}

export const clean: Command = {
  name: "clean",
  summary: "remove what compiling and runs have left in the cache; --all: what was fetched, too",
  usage: "[--all] [--yes] [--list]",
  words: { most: 0, what: "flags alone" },
  about:
    "Lists every entry of NBIT_HOME or ~/.cache/nbit, the largest first: what it is, how large, whether it goes, and " +
    "whether something here needs it. Then asks.",
  groups: [
    {
      title: "Flags",
      flags: new Map([
        ["all", { summary: "also what would have to be fetched again, libtorch among it", takes: ["switch"] }],
        ["yes", { summary: "do not ask", takes: ["switch"], short: "y" }],
        ["list", { summary: "list what there is, and remove nothing", takes: ["switch"] }],
      ]),
    },
  ],
  async run({ flags }) {
    const given = lastOf(flags);
    const all = given.get("all") === true;
    const { cacheFolder } = await import("@nbit/native/build");
    const folder = cacheFolder();
    const entries = cacheEntries(folder, await neededHere(folder));
    if (entries.length === 0) {
      console.log(plainText(`Nothing is in the cache, ${folder}.`));
      return 0;
    }
    const running = runningSetup(folder);
    if (running !== null && given.get("list") !== true) throw busy(running);
    const goes = (entry: CacheEntry): boolean => all || (entry.rebuilt && !entry.inUse);
    await measureWide();
    console.log(plainText(folder));
    const rows = entries.map(
      (entry) =>
        [
          `${formatBytes(entry.bytes).padStart(9)}  ${entry.name}`,
          `${goes(entry) ? "goes" : "stays"}: ${entry.what}${entry.inUse ? " (in use)" : ""}`,
        ] as const,
    );
    for (const line of table(rows, columns(), 40)) console.log(plainText(line));
    const going = entries.filter(goes);
    const total = formatBytes(going.reduce((sum, { bytes }) => sum + bytes, 0));
    if (given.get("list") === true || going.length === 0) {
      console.log(`${total} would go${all ? "" : "; with --all everything"}.`);
      return 0;
    }
    if (given.get("yes") !== true && !(await confirmed(`Remove ${total}? [y/N] `))) {
      console.log("Nothing was removed.");
      return 0;
    }
    for (const { path } of going) rmSync(path, { recursive: true, force: true });
    console.log(`Removed ${total}.${all ? " `nbit setup` fetches what is needed again." : ""}`);
    return 0;
  },
};

const BEAT_MS = 30_000;
/** The lock that a set-up keeps alive at this moment, by a beat every two seconds. */
function runningSetup(folder: string): string | null {
  const alive = (path: string): boolean => {
    try {
      return Date.now() - statSync(path).mtimeMs < BEAT_MS && setupLives(path);
    } catch {
      return false; // gone meanwhile
    }
  };
  return (
    namesIn(folder)
      .filter((name) => name.endsWith(".lock"))
      .map((name) => join(folder, name))
      .find(alive) ?? null
  );
}

/** A lock names its process; one of another host is judged by its beat alone. */
function setupLives(path: string): boolean {
  const [, pid] = /"pid":(\d+)/.exec(readFileSync(path, "utf8")) ?? [];
  if (pid === undefined || !readFileSync(path, "utf8").includes(JSON.stringify(hostname()))) return true;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return isError(error) && "code" in error && error.code === "EPERM";
  }
}

function busy(lock: string): CommandError {
  return new CommandError(
    "ERR_SETUP_RUNNING",
    `nbit clean: expected that no set-up is running. Received: ${lock}, which one holds. Wait for it, or end it.`,
  );
}

/** Paths without which nothing runs here. */
async function neededHere(folder: string): Promise<string[]> {
  const { examine } = await import("@nbit/native/doctor");
  const { libtorch, addon } = await examine();
  // A package that nobody may write to is used from the cache.
  const used = existsSync(addon.path) ? [] : namesIn(folder).filter((name) => name.startsWith("addon-"));
  return [libtorch?.path, ...used.map((name) => join(folder, name))].filter((path) => path !== undefined);
}

/** @throws {CommandError} `ERR_NO_TERMINAL`: there is nobody to ask. */
async function confirmed(question: string): Promise<boolean> {
  if (process.stdin.isTTY !== true)
    throw new CommandError(
      "ERR_NO_TERMINAL",
      "nbit clean: expected --yes, or a terminal to ask in. Received: neither.",
    );
  const { createInterface } = await import("node:readline/promises");
  const reader = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await reader.question(question)).trim());
  } finally {
    reader.close();
  }
}
