/**
 * The tables on a GPU, beside what PyTorch made of them on a CPU: the same operators in other kernels, which add in
 * another order. Numbers that a row draws are the GPU generator's, so of such rows only dtypes and shapes are compared.
 *
 * NBIT_PARITY_GPU names a folder of what PyTorch makes of them on this GPU (`make_fixtures.py --device cuda`): what
 * differs from the CPU's record is then compared with that.
 */
import { pathToFileURL } from "node:url";
import { DeviceLostError, scope, setSwitch } from "@nbit/torch";
import { areas } from "./fixtures.js";
import { exceptionOf } from "./gpu-exceptions.js";
import { run } from "./run.js";
import { differences, toleranceOf, type Comparison, type Mode, type RecordOfCase, type Row } from "./table.js";

/** Of a tensor's norm. Five steps of training multiply what the first step's rounding leaves. */
const TOLERANCE: Readonly<Record<Mode, number>> = { float32: 1e-4, float64: 1e-9, bfloat16: 3e-2, autocast: 3e-2 };

export interface Finding {
  readonly area: string;
  readonly name: string;
  readonly mode: Mode;
  /** Empty: as PyTorch's. */
  readonly differences: readonly string[];
  /** Why that is so on a GPU; null: it should not be. */
  readonly exception: string | null;
}

/** Whether what a row gives depends on the generator: it gives something else from another seed. */
function draws(row: Row, mode: Mode, expected: object): boolean {
  return scope(() => differences(expected, run(row, mode, { seed: 2 }), toleranceOf(row, mode) * 10).length > 0);
}
function differencesOf(row: Row, { name: _, mode, ...expected }: RecordOfCase): readonly string[] {
  const how: Comparison = {
    // Autocast on CUDA has lists of its own: which operators take 16 bits is tested in tests/gpu/autocast.
    dtypes: mode !== "autocast",
    values: true,
  };
  const tolerance = Math.max(TOLERANCE[mode], row.tolerance ?? 0);
  const found = scope(() => differences(expected, run(row, mode, { device: "cuda" }), tolerance, "", how));
  return found.length > 0 && draws(row, mode, expected)
    ? scope(() => differences(expected, run(row, mode, { device: "cuda" }), tolerance, "", { ...how, values: false }))
    : found;
}

function said(error: unknown): string {
  if (error instanceof DeviceLostError) throw error; // nothing after it could run
  return `throws ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}`;
}
/** Whether it is as PyTorch on the same GPU, where that was asked. Drawn numbers are the same there. */
function isAsOnSameGpu(row: Row, { name: _, mode, ...expected }: RecordOfCase): boolean {
  const tolerance = Math.max(TOLERANCE[mode], row.tolerance ?? 0);
  try {
    return scope(() => differences(expected, run(row, mode, { device: "cuda" }), tolerance)).length === 0;
  } catch {
    return false; // what it throws is told already
  }
}
function findingOf(area: string, row: Row, record: RecordOfCase, there: readonly RecordOfCase[]): Finding {
  const { name, mode } = record;
  let found: readonly string[];
  try {
    found = differencesOf(row, record);
  } catch (error) {
    found = [said(error)];
  }
  if (found.length === 0) return { area, name, mode, differences: found, exception: null };
  const twin = there.find((r) => r.name === name && r.mode === mode);
  const same = twin !== undefined && isAsOnSameGpu(row, twin) ? "as PyTorch on this GPU" : null;
  return { area, name, mode, differences: found, exception: exceptionOf(area, name, mode) ?? same };
}

/** Every row in each of its modes. Schedulers compute no tensor, and are left out. */
export function* onGpu(only?: string): Generator<Finding> {
  setSwitch("tf32Cudnn", false); // convolutions, which take TF32 by default
  const folder = process.env["NBIT_PARITY_GPU"];
  const onGpuToo = folder === undefined ? [] : areas(pathToFileURL(`${folder}/`));
  for (const { area, rows, records } of areas()) {
    if (area === "schedulers") continue;
    const there = onGpuToo.find((a) => a.area === area)?.records ?? [];
    for (const row of rows.filter(({ name }) => only === undefined || name.includes(only)))
      for (const record of records.filter((r) => r.name === row.name)) yield findingOf(area, row, record, there);
  }
}
