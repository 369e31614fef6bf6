/** The energy of the GPU between two times, by NVML's counter: energy.py looks at it all the while. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { python } from "./baseline.js";

/** Spans that are shorter say more about the counter's steps than about the GPU. */
const SHORTEST_MS = 500;

export class Energy {
  readonly #child = spawn(python, [fileURLToPath(new URL("../../gpu/energy.py", import.meta.url))], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  readonly #lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();

  /** Joules from `begin` to `end`, in milliseconds since 1970; null: the span is too short, or nobody counts. */
  async between(begin: number | undefined, end: number | undefined): Promise<number | null> {
    if (begin === undefined || end === undefined || !(end - begin >= SHORTEST_MS)) return null;
    this.#child.stdin.write(`${begin} ${end}\n`);
    const { value } = await this.#lines.next();
    return typeof value === "string" ? (JSON.parse(value) as number | null) : null;
  }
  close(): void {
    this.#child.stdin.end();
  }
}
