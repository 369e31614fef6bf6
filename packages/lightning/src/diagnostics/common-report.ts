/** One report of a step for all of several processes. */
import { mergeRanges, sharesIn, type NumberRange } from "./number-range.js";
import { StepPrecision, type ModulePrecision, type StepPrecisionData } from "./step-precision.js";

const KINDS = ["activations", "activationGradients", "parameterGradients"] as const;

/**
 * What all processes saw, from what each did, in the order of ranks: numbers are those of all batches together; times,
 * operators and calls those of process 0. Where numbers overflow in some processes and not in others, they are named.
 */
export function mergeReports(all: readonly StepPrecisionData[]): StepPrecision {
  const [first] = all;
  if (first === undefined) throw new Error("a report of no process");
  const modules = first.modules.map((mine): ModulePrecision => {
    const same = all.map(({ modules: theirs }) => theirs.find(({ name }) => name === mine.name) ?? null);
    const merged = Object.fromEntries(KINDS.map((kind) => [kind, together(same.map((m) => m?.[kind] ?? null))]));
    const ranks = same.flatMap((m, rank) => (m !== null && overflows(m, first) ? [rank] : []));
    const some = ranks.length > 0 && ranks.length < all.length;
    return { ...mine, ...merged, ...(some ? { overflowRanks: ranks } : {}) };
  });
  return new StepPrecision({ ...first, modules, ...(all.length > 1 ? { worldSize: all.length } : {}) });
}

function together(ranges: readonly (NumberRange | null)[]): NumberRange | null {
  return ranges.reduce((sum, range) => (sum === null || range === null ? (sum ?? range) : mergeRanges(sum, range)));
}

function overflows(module: ModulePrecision, { compute }: StepPrecisionData): boolean {
  return KINDS.some((kind) => {
    const range = module[kind];
    return range !== null && sharesIn(range, compute).overflow > 0;
  });
}
