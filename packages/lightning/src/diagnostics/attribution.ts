import { isFloatingPoint } from "@nbit/torch";
import type { amp, DType, TraceEvent } from "@nbit/torch";
import type { ModuleSwitch } from "./module-watch.js";

/**
 * Why an operator computed in its dtype. `lower`, `float32`, `promote`, …: autocast's rule cast its inputs, or found
 * them cast. `input`: it has no rule, and computes in its inputs' dtype. `cast`: it is a cast that the program asked
 * for. `backward`: a gradient, in the dtype of its forward.
 */
export type Reason = amp.AutocastRule | "input" | "cast" | "backward";

/** One operator of a module, over all its calls. Plain data. */
export interface OperatorUse {
  /** Such as `linear`, or `AddmmBackward0`. */
  readonly name: string;
  readonly phase: "forward" | "backward";
  /** What it computed in; null where nothing is floating point. */
  readonly dtype: DType | null;
  readonly reason: Reason;
  calls: number;
  seconds: number;
  /** Casts between floating dtypes that it made, and their time, which is part of `seconds`. */
  casts: number;
  castSeconds: number;
}

/** An operator that the program called, with what ran inside it. */
export interface Call {
  readonly event: TraceEvent;
  readonly index: number;
  readonly inner: readonly TraceEvent[];
  readonly phase: "forward" | "backward";
  /** Dotted name of the innermost module; "" for the step method itself. */
  readonly module: string;
}

/** The events within the one at `i`, which is at depth 0. */
function insideOf(events: readonly TraceEvent[], i: number): readonly TraceEvent[] {
  let end = i + 1;
  while (end < events.length && (events[end]?.depth ?? 0) > 0) end++;
  return events.slice(i + 1, end);
}

/**
 * Cut a trace into calls, each with the module that made it. A backward node belongs to the module whose operator it
 * differentiates.
 */
export function callsOf(
  events: readonly TraceEvent[],
  switches: readonly ModuleSwitch[],
  backward: readonly (readonly [number, number])[],
): Call[] {
  const calls: Call[] = [];
  const bySequence = new Map<number, string>();
  let at = 0;
  let module = "";
  let latest = "";
  for (let i = 0; i < events.length; i++) {
    const event = events[i] as TraceEvent;
    while (at < switches.length && (switches[at]?.from ?? Infinity) <= i) module = switches[at++]?.module ?? "";
    const inBackward = backward.some(([from, to]) => i >= from && i < to);
    // The last operator with a number is the one that made the node: those before it made none.
    if (!inBackward && event.sequence >= 0) bySequence.set(event.sequence, module);
    if (event.depth !== 0) continue;
    const inner = insideOf(events, i);
    if (!inBackward) {
      calls.push({ event, index: i, inner, phase: "forward", module });
      continue;
    }
    const node = event.scope === "backward" ? event : inner.find((e) => e.scope === "backward");
    if (node !== undefined && node.sequence >= 0) latest = bySequence.get(node.sequence) ?? latest;
    calls.push({ event: node ?? event, index: i, inner, phase: "backward", module: latest });
  }
  return calls;
}

const floating = (tensors: TraceEvent["inputs"]): DType | null =>
  tensors.find((t) => t !== null && isFloatingPoint(t.dtype))?.dtype ?? null;

/** A cast between floating dtypes. */
export function isCast(event: TraceEvent): boolean {
  if (event.name !== "aten::_to_copy") return false;
  const from = floating(event.inputs);
  const to = floating(event.outputs);
  return from !== null && to !== null && from !== to;
}

export function shortName(event: TraceEvent): string {
  return event.name
    .replace(/^aten::/, "")
    .replace(/^torch::autograd::/, "")
    .replace(/^autograd::engine::evaluate_function: /, "");
}

/** What a call computed in, and why. */
export function dtypeOf(
  call: Call,
  table: ReadonlyMap<string, amp.AutocastRule>,
): { readonly dtype: DType | null; readonly reason: Reason } {
  const { event, inner } = call;
  if (call.phase === "backward") {
    const cast = inner.find((e) => e.depth > event.depth && isCast(e));
    if (event.name.startsWith("ToCopyBackward") && cast !== undefined)
      return { dtype: floating(cast.outputs), reason: "cast" };
    const real = inner.find(
      (e) => e.depth > event.depth && e.name.startsWith("aten::") && floating(e.outputs) !== null && !isCast(e),
    );
    return {
      dtype: (real === undefined ? null : floating(real.outputs)) ?? floating(event.inputs),
      reason: "backward",
    };
  }
  if (event.name === "aten::to" || event.name === "aten::_to_copy") {
    const cast = isCast(event) || inner.some(isCast);
    return { dtype: floating(event.outputs) ?? floating(event.inputs), reason: cast ? "cast" : "input" };
  }
  // Under autocast the operator calls itself once more, with inputs cast.
  const itself = inner.find((e) => e.depth === event.depth + 1 && e.name === event.name);
  const ran = itself ?? event;
  const dtype = floating(ran.outputs) ?? floating(ran.inputs);
  if (itself === undefined) return { dtype, reason: "input" };
  const rule = table.get(shortName(event));
  // Autocast casts before the call; casts within it are the operator's own business.
  const cast = inner.slice(0, inner.indexOf(ran)).find((e) => e.depth > event.depth && isCast(e));
  const to = cast === undefined ? null : floating(cast.outputs);
  // A policy of one's own casts otherwise than libtorch's table says.
  if (to !== null && rule !== "promote") return { dtype, reason: to === "float32" ? "float32" : "lower" };
  return { dtype, reason: rule ?? "input" };
}

/** Add a call to a module's operators. */
export function addCall(
  uses: Map<string, OperatorUse>,
  call: Call,
  table: ReadonlyMap<string, amp.AutocastRule>,
): void {
  const { dtype, reason } = dtypeOf(call, table);
  const name = shortName(call.event);
  const key = `${call.phase} ${name} ${dtype} ${reason}`;
  let use = uses.get(key);
  if (use === undefined) {
    use = { name, phase: call.phase, dtype, reason, calls: 0, seconds: 0, casts: 0, castSeconds: 0 };
    uses.set(key, use);
  }
  use.calls++;
  use.seconds += call.event.seconds;
  for (const e of isCast(call.event) ? [call.event] : call.inner) {
    // A number that an operator passes on as a tensor costs nothing.
    if (!isCast(e) || (e !== call.event && e.depth > call.event.depth + 1 && e.inputs[0]?.shape.length === 0)) continue;
    use.casts++;
    use.castSeconds += e.seconds;
  }
}
