import { nearest } from "@nbit/torch/names";
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

/** What other systems call them. */
const ELSEWHERE: ReadonlyMap<string, string> = new Map(
  Object.entries({
    fp16: "16", float16: "16", half: "16", mixed: "16", bfloat16: '"bf16"', fp32: "32", float32: "32", float: "32", fp64: "64", float64: "64", double: "64", fp8: '"transformer-engine"', float8: '"transformer-engine"',
  }),
);

function didYouMean(input: unknown): string | undefined {
  if (typeof input !== "string") return undefined;
  const words = [...SPELLINGS.keys()].map(String).filter((s) => s.length > 2);
  const near = nearest(input, words);
  const meant = ELSEWHERE.get(input.toLowerCase()) ?? (near === null ? null : JSON.stringify(near));
  return meant === null ? undefined : `Did you mean ${meant}?`;
}

/** Canonical name of a spelling; "auto" stays. Throws for anything else, listing what is accepted. */
export function parsePrecision(input: unknown): PrecisionName | "auto" {
  if (input === "auto") return "auto";
  const name = typeof input === "string" || typeof input === "number" ? SPELLINGS.get(input) : undefined;
  if (name === undefined) {
    const accepted = [...SPELLINGS.keys(), "auto"].map((s) => JSON.stringify(s)).join(", ");
    throw new MisconfigurationError("Trainer", `precision to be one of ${accepted}`, input, didYouMean(input), "ERR_PRECISION_UNKNOWN");
  }
  return name;
}

/** True precisions hold parameters in the dtype they compute in. */
export function isTrue(name: PrecisionName): boolean {
  return name.endsWith("-true");
}
