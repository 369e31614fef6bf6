import { nn, verbatim } from "@nbit/torch";
import { isError } from "@nbit/torch/realm";
import { MisconfigurationError } from "../errors.js";
import type { PrunedPlace } from "./pruned-parameters.js";

const { prune } = nn.utils;
export type PruningClass = new (...args: never) => nn.utils.prune.BasePruningMethod;
/** Prunes `amount` more of each place, or of all together. */
export interface Pruning {
  readonly name: string;
  readonly prune: (places: readonly PrunedPlace[], amount: number) => void;
}
interface PruningOptions {
  readonly pruningFn: string | PruningClass;
  readonly useGlobalUnstructured: boolean;
  readonly pruningDim: number | null;
  readonly pruningNorm: number | null;
}
const NAMES = ["ln_structured", "l1_unstructured", "random_structured", "random_unstructured"];

const refused = (expected: string, received: unknown, fix?: string): MisconfigurationError =>
  new MisconfigurationError("ModelPruning", expected, received, fix, "ERR_PRUNING");

/** @throws {MisconfigurationError} ERR_PRUNING: there is no such method, or it lacks something. */
export function pruningOf(options: PruningOptions): Pruning {
  const { pruningFn, useGlobalUnstructured } = options;
  if (typeof pruningFn === "string") return byName(pruningFn.toLowerCase(), options);
  if (!(pruningFn.prototype instanceof prune.BasePruningMethod))
    throw refused(
      `pruningFn to be one of ${NAMES.join(", ")}, or a class that extends nn.utils.prune.BasePruningMethod`,
      pruningFn,
      "Pass the class, not an instance.",
    );
  if (!useGlobalUnstructured)
    throw refused(
      "useGlobalUnstructured: true with a class",
      useGlobalUnstructured,
      "Name one of ours, or leave it out.",
    );
  return globally(pruningFn.name, pruningFn, takesAmount(pruningFn));
}

function byName(name: string, { useGlobalUnstructured, pruningDim: dim, pruningNorm: n }: PruningOptions): Pruning {
  if (!NAMES.includes(name)) throw refused(`pruningFn to be one of ${NAMES.join(", ")}`, name);
  const structured = name.endsWith("_structured");
  if (structured && dim === null) throw refused(`pruningDim with ${JSON.stringify(name)}`, dim);
  if (name === "ln_structured" && n === null) throw refused(`pruningNorm with ${JSON.stringify(name)}`, n);
  if (useGlobalUnstructured && structured)
    throw refused(
      `useGlobalUnstructured: false with ${JSON.stringify(name)}`,
      true,
      "Slices are chosen in each parameter by itself.",
    );
  if (useGlobalUnstructured)
    return globally(name, name === "l1_unstructured" ? prune.L1Unstructured : prune.RandomUnstructured, true);
  return {
    name,
    prune: (places, amount) => {
      for (const [module, field] of places)
        if (name === "l1_unstructured") prune.l1Unstructured(module, field, amount);
        else if (name === "random_unstructured") prune.randomUnstructured(module, field, amount);
        else if (name === "random_structured") prune.randomStructured(module, field, amount, dim ?? 0);
        else prune.lnStructured(module, field, amount, n ?? 2, dim ?? 0);
    },
  };
}

function globally(name: string, pruningMethod: PruningClass, withAmount: boolean): Pruning {
  return {
    name,
    prune: (places, amount) => {
      if (places.length > 0)
        prune.globalUnstructured(places, {
          pruningMethod: pruningMethod as nn.utils.prune.PruningMethodClass,
          ...(withAmount ? { amount } : {}),
        });
    },
  };
}

/** Whether a class's constructor takes `{ amount }`, or nothing. */
function takesAmount(type: PruningClass): boolean {
  for (const args of [[{ amount: 0.5 }], []] as const)
    try {
      const { PRUNING_TYPE } = Reflect.construct(type, args) as nn.utils.prune.BasePruningMethod;
      if (PRUNING_TYPE !== "unstructured")
        throw refused('a pruningFn of type "unstructured" with useGlobalUnstructured: true', PRUNING_TYPE);
      return args.length > 0;
    } catch (error) {
      if (error instanceof MisconfigurationError || args.length === 0) throw error;
    }
  throw refused("a pruningFn that can be made", verbatim(isError(type) ? String(type) : type.name));
}
