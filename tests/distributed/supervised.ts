/** Real processes that a supervisor looks after, for tests. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LaunchOptions } from "@nbit/torch/distributed/run";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const entry = import.meta.resolve("@nbit/torch/distributed/run");

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}
export interface Supervised {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  /** All that it has written so far. */
  written(): string;
  /** Resolves when the program has written that, to stdout or stderr, as often as that. */
  wrote(text: string, times?: number): Promise<void>;
}

/** Programs of a test file, in a folder of its own. */
export class Programs {
  readonly folder: string;
  #count = 0;

  constructor(name: string) {
    this.folder = temporaryFolder(name);
  }

  /** A program's path. */
  file(text: string, name = `program-${this.#count++}.mjs`): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  /** The text of a function `meet()` for ranks: it resolves when all of them have called it. */
  meeting(): string {
    const folder = join(this.folder, `meeting-${this.#count++}`);
    mkdirSync(folder);
    return `
import { readdirSync as present, writeFileSync as arrive } from "node:fs";
async function meet() {
  arrive(${JSON.stringify(`${folder}/`)} + process.env.RANK, "");
  while (present(${JSON.stringify(folder)}).length < Number(process.env.WORLD_SIZE))
    await new Promise((resolve) => setTimeout(resolve, 10));
}
`;
  }

  /** A supervisor in a process of its own, of ranks that run the program. */
  launch(text: string, options: LaunchOptions, env: NodeJS.ProcessEnv = {}): Supervised {
    const supervisor = this.file(
      `import { launch } from ${JSON.stringify(entry)};
       process.exitCode = await launch(${JSON.stringify([process.execPath, this.file(text)])}, ${JSON.stringify(options)});`,
    );
    return this.run([supervisor], env);
  }

  /** Node with these arguments. */
  run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Supervised {
    return watch(
      spawn(process.execPath, args, {
        cwd: this.folder,
        env: { ...process.env, ...env },
        stdio: ["ignore", "pipe", "pipe"],
      }),
    );
  }
}

export function watch(child: ChildProcess): Supervised {
  const written = { stdout: "", stderr: "" };
  const waiting = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const)
    child[name]?.setEncoding("utf8").on("data", (text: string) => {
      written[name] += text;
      for (const look of waiting) look();
    });
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, ...written }));
  });
  return {
    process: child,
    ended,
    written: () => `${written.stdout}${written.stderr}`,
    wrote: (text, times = 1) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (`${written.stdout}${written.stderr}`.split(text).length <= times) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
        void ended.then(({ stderr }) => reject(new Error(`it ended and had not written ${text}: ${stderr}`)));
      }),
  };
}

/** Whether a process is there, and no zombie. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Waits until none of them is there: a test that waits for ever is ended by its time limit. */
export async function gone(pids: readonly number[]): Promise<void> {
  while (pids.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** The numbers behind a word in a text: `pid 12`. */
export function numbersAfter(word: string, text: string): number[] {
  return [...text.matchAll(new RegExp(`${word} (\\d+)`, "g"))].map(([, number]) => Number(number));
}
