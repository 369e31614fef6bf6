/** Child processes whose output is wanted as text. */
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * Runs to the end without blocking the event loop (a lock's heartbeat and the progress line go on).
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, onOutput?: (text: string) => void }} [options]
 * @returns {Promise<{ status: number | null, signal: string | null, output: string, error: NodeJS.ErrnoException | null
 * }>}
 *   stdout and stderr together in `output`; never rejects.
 */
export function run(program, args, { cwd, env, onOutput } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env: env ?? process.env, stdio: ["ignore", "pipe", "pipe"] });
    children.add(child);
    let output = "";
    const take = (chunk) => {
      output += chunk;
      onOutput?.(String(chunk));
    };
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    const end = (result) => {
      children.delete(child);
      resolve({ status: null, signal: null, error: null, ...result, output });
    };
    child.on("error", (error) => end({ error }));
    child.on("close", (status, signal) => end({ status, signal }));
  });
}

const children = new Set();

/** Ends what `run` started: an interrupted set-up leaves no compiler or download behind. */
export function endChildren() {
  for (const child of children) child.kill("SIGTERM");
}

/** Like `run`, but now; for programs that answer in milliseconds. Null when it cannot be run or fails. */
export function ask(program, args, env = process.env) {
  const { status, stdout } = spawnSync(program, args, {
    encoding: "utf8",
    env,
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 30_000,
  });
  return status === 0 ? stdout.trim() : null;
}

/** Absolute path of a program in PATH, or null. */
export function inPath(program) {
  if (program.includes("/")) return isExecutable(program) ? program : null;
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    if (folder !== "" && isExecutable(join(folder, program))) return join(folder, program);
  }
  return null;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
