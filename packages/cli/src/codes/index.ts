import type { Code, Family } from "./family.js";
import { callbacks } from "./table/callbacks.js";
import { cli } from "./table/cli.js";
import { distributed } from "./table/distributed.js";
import { files } from "./table/files.js";
import { gpu } from "./table/gpu.js";
import { precision } from "./table/precision.js";
import { setup } from "./table/setup.js";
import { tensors } from "./table/tensors.js";
import { trainer } from "./table/trainer.js";
import { warnings } from "./table/warnings.js";
import { xla } from "./table/xla.js";

export type { Code, Family } from "./family.js";

/** In the order of the documentation. */
export const FAMILIES: readonly Family[] = [
  setup,
  cli,
  trainer,
  precision,
  tensors,
  callbacks,
  files,
  distributed,
  gpu,
  xla,
  warnings,
];

/** @returns The row of a code and its family; null for none of ours. */
export function findCode(code: string): { readonly family: Family; readonly row: Code } | null {
  for (const family of FAMILIES) {
    const row = Object.hasOwn(family.codes, code) ? family.codes[code] : undefined;
    if (row !== undefined) return { family, row };
  }
  return null;
}

export const allCodes = (): string[] => FAMILIES.flatMap(({ codes }) => Object.keys(codes)).sort();
