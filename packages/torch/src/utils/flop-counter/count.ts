/** From what ran to how much it was. */
import type { TraceEvent } from "../../autograd/trace.js";
import { operatorKey, type FlopFormula } from "./formulas.js";

/** From event `from` on, these modules run, the outermost first. */
export interface ModuleMark {
  readonly from: number;
  readonly modules: readonly string[];
}
/** FLOPs by module, and by operator in it. "Global" is everything. */
export type FlopCounts = Map<string, Map<string, number>>;

/**
 * Count events in the order in which they ran. What runs within an operator that has a formula is part of it. Operators
 * of a backward count for the modules of the forward operator whose node they are.
 */
export function countFlops(
  events: readonly TraceEvent[],
  marks: readonly ModuleMark[],
  formulas: ReadonlyMap<string, FlopFormula>,
  counts: FlopCounts,
): void {
  const bySequence = new Map<number, readonly string[]>();
  let mark = 0;
  /** Depths of the operator that counts, and of the node of a backward that runs; Infinity: none. */
  let counted = Infinity;
  let node = Infinity;
  let nodeModules: readonly string[] = [];
  events.forEach((event, i) => {
    while (mark + 1 < marks.length && (marks[mark + 1] as ModuleMark).from <= i) mark++;
    const running = (marks[mark] as ModuleMark | undefined)?.modules ?? [];
    if (event.depth <= node) node = Infinity;
    if (event.scope === "backward" || event.name.startsWith("autograd::engine::")) {
      node = event.depth;
      nodeModules = bySequence.get(event.sequence) ?? [];
    } else if (node === Infinity && event.sequence >= 0)
      // Operators that make no node have the number of the next node, so the last with a number made its node.
      bySequence.set(event.sequence, running);
    if (event.depth > counted) return;
    counted = Infinity;
    const key = operatorKey(event.name);
    const formula = formulas.get(key);
    if (formula === undefined || event.scope === "backward") return;
    counted = event.depth;
    const outputs = event.outputs.map((output) => output?.shape ?? null);
    const flops = formula(event.arguments ?? [], outputs.length === 1 ? (outputs[0] ?? null) : outputs);
    // A checkpoint runs modules again within a backward.
    const modules = node === Infinity || running.length > 0 ? running : nodeModules;
    for (const name of new Set(["Global", ...modules])) add(counts, name, key, flops);
  });
}

function add(counts: FlopCounts, module: string, key: string, flops: number): void {
  let own = counts.get(module);
  if (own === undefined) counts.set(module, (own = new Map()));
  own.set(key, (own.get(key) ?? 0) + flops);
}
