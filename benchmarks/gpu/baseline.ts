/** The Python baseline: started once, a fork per measurement, so that imports are not paid for each time. */
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Measurement } from "./rows.js";
import { startingNow } from "./started.js";

export const python = process.env["NBIT_BASELINE_PYTHON"] ?? "python3";
export const baselineScript = fileURLToPath(new URL("../../gpu/baseline.py", import.meta.url));

export class Baseline {
  readonly #child: ChildProcessWithoutNullStreams = spawn(python, [baselineScript, "serve"], { env: startingNow() });
  #text = "";
  #errors = "";
  #wake: (() => void) | null = null;
  #ended = false;

  constructor() {
    this.#child.stdout.setEncoding("utf8").on("data", (part: string) => {
      this.#text += part;
      this.#wake?.();
    });
    this.#child.stderr
      .setEncoding("utf8")
      .on("data", (part: string) => (this.#errors = (this.#errors + part).slice(-2000)));
    this.#child.on("close", () => {
      this.#ended = true;
      this.#wake?.();
    });
  }
  measure(model: string, precision: string, mode: string, steps: string): Promise<Measurement | null> {
    return this.#ask(`${model} ${precision} ${mode} ${steps}`);
  }
  /** Writes the initial weights and the batch of a model. @returns whether it did. */
  async saveWeights(model: string, precision: string, file: string): Promise<boolean> {
    return (await this.#ask<object>(`${model} ${precision} weights ${file}`)) !== null;
  }
  async #ask<T extends object = Measurement>(request: string): Promise<T | null> {
    this.#child.stdin.write(`${request}\n`);
    while (!this.#text.includes("done\n") && !this.#ended) await new Promise<void>((wake) => (this.#wake = wake));
    const line = this.#text.split("\n").find((l) => l.startsWith("{"));
    this.#text = "";
    // JSON has no word for NaN, which Python writes.
    const parsed = JSON.parse(line?.replaceAll("NaN", "null") ?? '{"error":"no result"}') as
      T | { readonly error: string };
    if (!("error" in parsed)) return parsed;
    console.error(`failed: baseline ${request}: ${parsed.error}\n${this.#errors.slice(-400)}`);
    return null;
  }
  close(): void {
    this.#child.stdin.end();
  }
}
