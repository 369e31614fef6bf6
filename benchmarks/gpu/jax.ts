/** JAX's jit of a model, a process each, from the weights that PyTorch drew. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { python } from "./baseline.js";
import type { Measurement } from "./rows.js";
import { startingNow } from "./started.js";

const script = fileURLToPath(new URL("../../gpu/jax_side.py", import.meta.url));

export function measureJax(
  model: string,
  precision: string,
  weights: string,
  steps: string,
): Promise<Measurement | null> {
  return new Promise((done) => {
    const child = spawn(python, [script, model, precision, weights, steps], {
      stdio: ["ignore", "pipe", "pipe"],
      env: startingNow(),
    });
    let text = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
    child.stderr.setEncoding("utf8").on("data", (part: string) => (errors += part));
    child.on("close", () => {
      const line = text.split("\n").find((l) => l.startsWith("{"));
      if (line === undefined) console.error(`failed: jax ${model} ${precision}\n${errors.slice(-800)}`);
      done(line === undefined ? null : (JSON.parse(line.replaceAll("NaN", "null")) as Measurement));
    });
  });
}
