import { MisconfigurationError } from "../errors.js";

/** The canonical names. */
export type PrecisionName = "32-true" | "64-true" | "16-mixed" | "bf16-mixed" | "16-true" | "bf16-true" | "transformer-engine" | "transformer-engine-float16";

/** Every spelling that `new Trainer({ precision })` accepts. */
export type PrecisionInput = PrecisionName | 16 | 32 | 64 | "16" | "32" | "64" | "bf16" | "auto";

const SPELLINGS: ReadonlyMap<string | number, PrecisionName> = new Map<string | number, PrecisionName>([
  [32, "32-true"],
  ["32", "32-true"],
  ["32-true", "32-true"],
  [64, "64-true"],
  ["64", "64-true"],
  ["64-true", "64-true"],
  [16, "16-mixed"],
  ["16", "16-mixed"],
  ["16-mixed", "16-mixed"],
  ["bf16", "bf16-mixed"],
  ["bf16-mixed", "bf16-mixed"],
  ["16-true", "16-true"],
  ["bf16-true", "bf16-true"],
  ["transformer-engine", "transformer-engine"],
  ["transformer-engine-float16", "transformer-engine-float16"],
]);

/** Canonical name of a spelling; "auto" stays. Throws for anything else, listing what is accepted. */
export function parsePrecision(input: unknown): PrecisionName | "auto" {
  if (input === "auto") return "auto";
  const name = typeof input === "string" || typeof input === "number" ? SPELLINGS.get(input) : undefined;
  if (name === undefined) {
    const accepted = [...SPELLINGS.keys(), "auto"].map((s) => JSON.stringify(s)).join(", ");
    throw new MisconfigurationError("Trainer", `precision to be one of ${accepted}`, input, undefined, "ERR_PRECISION_UNKNOWN");
  }
  return name;
}

/** True precisions hold parameters in the dtype they compute in. */
export function isTrue(name: PrecisionName): boolean {
  return name.endsWith("-true");
}
