/** Finds the Python baseline. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const baselineScript = fileURLToPath(new URL("../baseline.py", import.meta.url));

export interface Baseline {
  readonly python: string;
  readonly versions: {
    readonly python: string;
    readonly torch: string;
    readonly lightning: string;
    readonly capability: string;
  };
}

function ask(python: string): Baseline["versions"] | null {
  const result = spawnSync(python, [baselineScript, "versions"], { encoding: "utf8" });
  if (result.status !== 0) return null;
  return JSON.parse(result.stdout) as Baseline["versions"];
}

/** `NBIT_BASELINE_PYTHON`, else `python3` when it has torch and lightning; null with a sentence on what to do. */
export function findBaseline(): Baseline | { readonly missing: string } {
  const named = process.env["NBIT_BASELINE_PYTHON"];
  const python = named ?? "python3";
  const versions = ask(python);
  if (versions !== null) return { python, versions };
  return {
    missing:
      `${named === undefined ? "python3 has" : `NBIT_BASELINE_PYTHON=${named} has`} no torch and lightning, and a benchmark is a comparison.\n` +
      "  Fix: python3 -m venv baseline && baseline/bin/pip install 'torch==2.13.0' 'lightning==2.6.6' && NBIT_BASELINE_PYTHON=baseline/bin/python npm run bench",
  };
}
