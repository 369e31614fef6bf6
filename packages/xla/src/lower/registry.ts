/** Which operator is written by which lowering. */
import { ArgumentError } from "@nbit/torch/files";
import { atMost } from "@nbit/torch/options";
import type { Lowering } from "./operation.js";

/** By `aten::add.Tensor`. */
export type LoweringTable = Readonly<Record<string, Lowering>>;

const table = new Map<string, Lowering>();

/** @internal */
export function addLowerings(lowerings: LoweringTable): void {
  for (const [name, lowering] of Object.entries(lowerings)) {
    if (table.has(name)) throw new Error(`two lowerings of ${name}`);
    table.set(name, lowering);
  }
}

/** Null: there is none. What works in place is written as what makes a new tensor, where nothing else is said. */
export function loweringOf(name: string): Lowering | null {
  return table.get(name) ?? table.get(name.replace(/_(\.|$)/, "$1")) ?? null;
}

/**
 * Write an operator's StableHLO yourself: one that has no lowering, or another one.
 *
 * @param name - With its overload, as `aten::mm` or `nbit::bias_gelu` or `aten::add.Tensor`. `program.print` shows it. In-place
 * forms (`aten::add_.Tensor`) use that of `aten::add.Tensor`, unless they have one of their own.
 * @example
 * registerLowering("aten::erfc", (e, o) => [e.sub(1, e.special("erf", o.tensor("self")))]);
 */
export function registerLowering(name: string, lowering: Lowering): void {
  atMost("registerLowering", arguments, 2);
  if (typeof name !== "string" || !/^\w+::\w+(\.\w+)?$/.test(name))
    throw new ArgumentError("registerLowering", 'name to be an operator, such as "aten::mm"', name);
  if (typeof lowering !== "function")
    throw new ArgumentError("registerLowering", "lowering to be a function", lowering);
  table.set(name, lowering);
}

/** Operators whose results are their arguments' memory. They are read from it by offset and strides, and need no lowering. */
const VIEWS = [
  ...["alias", "as_strided", "detach", "diagonal", "expand", "lift_fresh", "permute", "_reshape_alias", "select.int"],
  ...["slice.Tensor", "split.Tensor", "split_with_sizes", "squeeze", "squeeze.dim", "squeeze.dims", "t"],
  ...["transpose.int", "unbind.int", "unfold", "unsafe_split.Tensor", "unsqueeze", "view", "view.dtype"],
].map((name) => `aten::${name}`);

/**
 * Every operator that can be lowered, views among them, in order. In-place forms (`aten::add_.Tensor`) go with what
 * makes a new tensor (`aten::add.Tensor`) and are not named again.
 */
export function coveredOperators(): string[] {
  atMost("coveredOperators", arguments, 0);
  return [...new Set([...table.keys(), ...VIEWS])].sort();
}
