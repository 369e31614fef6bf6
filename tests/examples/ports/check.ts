/**
 * Ports of PyTorch programs against their Python twins: the values of the first steps, from the same seed. Import it
 * before a program: it pins libtorch's arithmetic. With NBIT_PORTS_ON=gpu in the environment they train on the GPU,
 * whose generator is another: what they give is then looked at by itself.
 */
import { incomparable, type FixtureOrigin } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { arange, cpuCapability, setCpuKernels, setDefaultDevice, setNumThreads, versions } from "@nbit/torch";
import type { Precision, RunOptions } from "nbit-examples/shared/options";
import { assertNear, DISTANCES } from "../../helpers/square-roots.js";

type Values = Readonly<Record<string, readonly number[]>>;
interface Recorded {
  readonly origin: FixtureOrigin & { readonly roots: string };
  /** By precision. */
  readonly curves: Readonly<Record<string, Values>>;
}

export interface Port {
  /** Its folder in examples. */
  readonly name: string;
  readonly train: (options: RunOptions) => Values | Promise<Values>;
  /** The steps that the twin recorded. */
  readonly steps: number;
  /** Fewer in 16 bits, which take long on processors without their arithmetic. Default: as many. */
  readonly steps16?: number;
  /** Those in which the twin trained. Default: all. */
  readonly precisions?: readonly Precision[];
  /** The names of what the twin recorded begin with this word, where it recorded several programs. */
  readonly part?: string;
  /** What is measured at the end, and so means nothing after fewer steps. */
  readonly atEnd?: readonly string[];
  /** Losses that have to fall, by name. Default: "loss". */
  readonly falling?: readonly string[];
  /** By how much values may differ from the twin's, relatively, where they are not equal to the bit. */
  readonly distance?: Partial<Record<Precision, number>>;
}

/** The compiled helper lies in tests/dist/examples/ports. */
const examples = fileURLToPath(new URL("../../../../examples", import.meta.url));
const PRECISIONS = [32, "bf16", 16] as const;
/**
 * Relative distances where MKL's square roots, and with them Adam's steps, are not the twin's (helpers/square-roots.ts);
 * where they are, values are equal to the bit.
 */
const FROM_OTHER_ROOTS = { 32: DISTANCES.float32.value, bf16: DISTANCES.bfloat16.value, 16: DISTANCES.bfloat16.value };
const EQUAL = { 32: 0, bf16: 0, 16: 0 };
export const onGpu = process.env["NBIT_PORTS_ON"] === "gpu";
if (onGpu) setDefaultDevice("cuda");

/** Tests a program in every precision: equal to its twin where this has it, and in any case finite and falling. */
export function comparesWithTwin(port: Port): void {
  const { origin, curves } = JSON.parse(readFileSync(join(examples, port.name, "losses.json"), "utf8")) as Recorded;
  setNumThreads(1);
  setCpuKernels("libtorch");
  const reason = onGpu
    ? "its twin ran on a CPU"
    : incomparable(origin, { libtorch: versions().libtorch, capability: cpuCapability() });
  const roots = createHash("sha256")
    .update(new Uint8Array(arange(1, 1025, { device: "cpu" }).div(7).sqrt().toBytes()))
    .digest("hex");
  const limits = roots === origin.roots ? EQUAL : FROM_OTHER_ROOTS;

  for (const precision of port.precisions ?? PRECISIONS) {
    test(`${port.part ?? port.name}: precision ${precision}`, async (t) => {
      const steps = precision === 32 ? port.steps : (port.steps16 ?? port.steps);
      const values = await port.train({ precision, steps });
      for (const [name, curve] of Object.entries(values))
        assert.ok(curve.length > 0 && curve.every(Number.isFinite), `${name} is finite: ${curve.join(", ")}`);
      for (const name of port.falling ?? ["loss"]) falls(name, values[name] ?? []);

      const twin = curves[String(precision)];
      if (twin === undefined) return;
      if (reason !== null) return t.diagnostic(reason);
      for (const [name, curve] of Object.entries(values)) {
        if (steps < port.steps && port.atEnd?.includes(name)) continue;
        const recorded = twin[port.part === undefined ? name : `${port.part} ${name}`];
        assert.ok(recorded !== undefined, `the twin recorded ${name}`);
        const there = recorded.slice(0, curve.length);
        assertNear(curve, there, Math.max(limits[precision], port.distance?.[precision] ?? 0), name);
      }
    });
  }
}

/** The mean of the last quarter is below that of the first. */
function falls(name: string, curve: readonly number[]): void {
  const quarter = Math.max(1, Math.floor(curve.length / 4));
  const mean = (part: readonly number[]): number => part.reduce((a, b) => a + b, 0) / part.length;
  const [first, last] = [mean(curve.slice(0, quarter)), mean(curve.slice(-quarter))];
  assert.ok(last < first, `${name} falls: ${first} at first, ${last} in the end`);
}

/** Tests that the program runs from the command line, in float16 by nbit's own kernels. */
export function runs(name: string, expected: RegExp): void {
  test(`${name}: its command`, async () => {
    const args = ["--precision", "16", "--steps", "1", "--accelerator", onGpu ? "gpu" : "cpu"];
    const { stdout } = await promisify(execFile)(process.execPath, [join(examples, "dist", name, "main.js"), ...args]);
    assert.match(stdout, expected);
  });
}
