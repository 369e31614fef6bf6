/**
 * A child that may end, hang or ask for all memory: it runs under a limit, and the journal of what it is about to do
 * says which call or file did it.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";

export interface Watched {
  /**
   * Null: exit code 0, and it said something. "end": anything else; "hang": the journal was not touched for as long as
   * patience lasts.
   */
  readonly how: { readonly kind: "end" | "hang"; readonly what: string } | null;
  readonly output: string;
  /** The last lines of stderr. */
  readonly errors: readonly string[];
  /** What was in progress; empty when it did not come as far. */
  readonly journal: string;
}

const SANITIZED = process.env["NBIT_SANITIZED"] !== undefined;

/**
 * Node.js with `args`, in the journal's folder, with one thread of libtorch.
 *
 * @param patience - Seconds that the journal may stay as it is.
 * @param limitKb - Data that the child may hold, in KiB: absurd sizes shall fail to allocate, not fill the machine.
 * Sanitizers reserve terabytes of address space: with them it is the limit of a single allocation, which the
 *   system's allocator keeps to, not nbit's own.
 */
export function watched(args: readonly string[], journal: string, patience: number, limitKb: number): Promise<Watched> {
  const limit = SANITIZED ? "" : `ulimit -d ${limitKb}; `;
  const more = SANITIZED
    ? {
        NBIT_CPU_ALLOCATOR: "system",
        ASAN_OPTIONS: `${process.env["ASAN_OPTIONS"] ?? ""}:max_allocation_size_mb=${Math.floor(limitKb / 1024)}`,
      }
    : {};
  const child = spawn("sh", ["-c", `${limit}exec "$0" "$@"`, process.execPath, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: dirname(journal),
    env: { ...process.env, ...more, OMP_NUM_THREADS: "1" },
  });
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-2000)));
  return new Promise((resolve, reject) => {
    let hung = false;
    const watch = setInterval(() => {
      const touched = statSync(journal, { throwIfNoEntry: false })?.mtimeMs;
      if (touched === undefined || Date.now() - touched <= patience * 1000) return;
      hung = true;
      child.kill("SIGKILL");
    }, 500);
    child.on("error", (error) => {
      clearInterval(watch);
      reject(error);
    });
    child.on("close", (code, signal) => {
      clearInterval(watch);
      const how =
        code === 0 && output !== ""
          ? null
          : hung
            ? ({ kind: "hang", what: `did not come back within ${patience} s` } as const)
            : ({ kind: "end", what: `ended the process with ${signal ?? `exit code ${code ?? "?"}`}` } as const);
      resolve({
        how,
        output,
        errors: errors.trim().split("\n").slice(-5),
        journal: existsSync(journal) ? readFileSync(journal, "utf8") : "",
      });
    });
  });
}
