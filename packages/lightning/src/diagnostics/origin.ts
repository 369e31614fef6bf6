import type { DType, TraceEvent, TracedTensor } from "@nbit/torch";
import { isCast, shortName } from "./attribution.js";
import type { Call } from "./attribution.js";
import type { NonFiniteOrigin } from "./non-finite-origin.js";
import type { TracedStep } from "./observe-step.js";

type Kind = "nan" | "inf";
type Tensors = readonly (TracedTensor | null)[];
const holds = (tensors: Tensors, kind: Kind): boolean => tensors.some((t) => t?.bad === kind);
const anyBad = (tensors: Tensors): boolean => holds(tensors, "nan") || holds(tensors, "inf");
/**
 * Memory that nothing has written yet holds anything: what ran before may have left NaN there. It is no result of an
 * allocation, nor of what looks at it before it is written.
 */
const onlyAllocates = (event: TraceEvent): boolean => /^aten::(empty|new_empty|resize_)/.test(event.name);
/** What other processes have sent. */
export const comesFromOthers = (name: string): boolean => name.startsWith("nbit_dist::");
const introduces = (event: TraceEvent): boolean =>
  !onlyAllocates(event) &&
  !comesFromOthers(event.name) &&
  ((holds(event.outputs, "nan") && !holds(event.inputs, "nan")) ||
    (holds(event.outputs, "inf") && !anyBad(event.inputs)));
const dtypeOfBad = (tensors: Tensors): DType | null => tensors.find((t) => t?.bad != null)?.dtype ?? null;

/**
 * Finds in a trace with checked values the operator whose inputs were finite and whose output is not, on the way to
 * what was not finite at the end.
 */
export function findOrigin(step: TracedStep): NonFiniteOrigin | null {
  const forward = step.calls.filter((c) => c.phase === "forward");
  const last = forward.findLast((c) => anyBad(c.event.outputs));
  // A mask of infinities that softmax has taken up is no fault: what matters is the step's last result, its loss. What
  // runs behind the last backward is none of the step's.
  const end = step.calls.findLast((c) => c.phase === "backward")?.index ?? Infinity;
  const result = forward.findLast((c) => c.index < end && c.event.outputs.length > 0);
  if (last !== undefined && last === result)
    return traceBack(step, forward, last, holds(last.event.outputs, "nan") ? "nan" : "inf");
  return firstInBackward(step);
}

function traceBack(step: TracedStep, calls: readonly Call[], from: Call, kind: Kind): NonFiniteOrigin {
  let call = from;
  const seen = new Set<Call>();
  for (;;) {
    seen.add(call);
    const before = call;
    const input = call.event.inputs.find((t) => t?.bad === kind);
    const maker =
      input?.id === undefined ? undefined : calls.findLast((c) => c.index < before.index && makes(c, input.id, kind));
    if (maker === undefined || seen.has(maker)) break;
    call = maker;
  }
  const infinite =
    kind === "nan" && !holds(call.event.inputs, "nan") ? call.event.inputs.find((t) => t?.bad === "inf") : undefined;
  const source =
    infinite?.id === undefined
      ? undefined
      : calls.findLast((c) => c.index < call.index && makes(c, infinite.id, "inf"));
  return { ...originAt(call, kind), infinityFrom: source === undefined ? null : traceBack(step, calls, source, "inf") };
}

/**
 * A tensor that is gone may have had the id of a later one: it must have been of that kind too. A collective writes to
 * what it is given.
 */
function makes(call: Call, id: number | undefined, kind: Kind): boolean {
  return [call.event, ...call.inner].some(
    (e) =>
      e.outputs.some((t) => t?.id === id && t?.bad === kind) ||
      (comesFromOthers(e.name) && e.inputs.some((t) => t?.id === id)),
  );
}

function firstInBackward(step: TracedStep): NonFiniteOrigin | null {
  for (const call of step.calls) {
    if (call.phase !== "backward") continue;
    const bad = [call.event, ...call.inner].find(introduces);
    if (bad === undefined || anyBad(call.event.inputs)) continue;
    return { ...originAt(call, holds(bad.outputs, "nan") ? "nan" : "inf"), infinityFrom: null };
  }
  return null;
}

function originAt(call: Call, kind: Kind): Omit<NonFiniteOrigin, "infinityFrom"> {
  const inner = innermost(call, kind);
  const outer = shortName(call.event);
  const ran = inner ?? call.event;
  const name = isCast(ran)
    ? `the cast ${ran.inputs[0]?.dtype} → ${ran.outputs[0]?.dtype}`
    : ran.name === call.event.name
      ? null
      : shortName(ran);
  return {
    phase: call.phase,
    module: call.module,
    operator: outer,
    inside: name,
    dtype: dtypeOfBad(inner?.outputs ?? call.event.outputs),
    kind,
  };
}

/** The deepest event inside a call that took finite values and returned others. */
function innermost(call: Call, kind: Kind): TraceEvent | null {
  let found: TraceEvent | null = null;
  let within: readonly TraceEvent[] = call.inner;
  for (;;) {
    const i = within.findIndex(
      (e) => anyBad(e.outputs) && !holds(e.inputs, kind) && !onlyAllocates(e) && e.name !== "aten::copy_",
    );
    const event = within[i];
    if (event === undefined) return found;
    found = event;
    let end = i + 1;
    while (end < within.length && (within[end]?.depth ?? 0) > event.depth) end++;
    within = within.slice(i + 1, end);
  }
}
