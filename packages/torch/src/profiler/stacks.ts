/** Which line of the program called an operator. */
import { setWatch, watch, type Watch } from "../autograd/watch.js";
import { programLines, type UserLine } from "../dtype-mismatch.js";
import { native } from "../native.js";
import type { FunctionEvent } from "./event.js";

interface Call {
  /** Microseconds since the profiler began, just after the operator. */
  readonly time: number;
  readonly stack: string;
}

/** Notes, for every operator that JavaScript calls, from where; and hands on to whoever watched before. */
export class StackWatch implements Watch {
  readonly #calls: Call[] = [];
  readonly #before: Watch | null = watch;
  readonly #known = new Map<string, string>();

  static begin(): StackWatch {
    const made = new StackWatch();
    setWatch(made);
    return made;
  }
  called(): void {
    this.#before?.called();
    this.#note();
  }
  backward(run: () => void, returns: boolean): void {
    if (this.#before === null) run();
    else this.#before.backward(run, returns);
    this.#note();
  }
  #note(): void {
    const time = native.profilerClock() / 1e3;
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = Math.max(limit, 64); // the program's line may be far up
    const stack = new Error().stack ?? "";
    Error.stackTraceLimit = limit;
    // Steps come from the same places again and again.
    let one = this.#known.get(stack);
    if (one === undefined) this.#known.set(stack, (one = stack));
    this.#calls.push({ time, stack: one });
  }
  end(): void {
    if (watch === this) setWatch(this.#before);
  }

  /**
   * Tell events where they come from: what ran between two calls belongs to the later one; operators of a backward have
   * the stack of the forward operator whose node they are.
   */
  attribute(events: readonly FunctionEvent[]): void {
    const lines = new Map<string, readonly string[]>();
    const stackOf = (event: FunctionEvent): readonly string[] => {
      const call = this.#callAt(event.timeRange.start);
      if (call === null) return [];
      let found = lines.get(call.stack);
      if (found === undefined) lines.set(call.stack, (found = programLines(call.stack).map(frameText)));
      return found;
    };
    const bySequence = new Map<number, readonly string[]>();
    for (const event of events) {
      if (event.deviceType !== "cpu" || event.isUserAnnotation || backwardOf(event) !== null) continue;
      event.stack = stackOf(event);
      // Operators that make no node have the number of the next node, so the last with a number made its node.
      if (event.sequenceNr >= 0) bySequence.set(event.sequenceNr, event.stack);
    }
    for (const event of events) {
      const node = backwardOf(event);
      if (node !== null) event.stack = bySequence.get(node.sequenceNr) ?? [];
    }
  }
  /** The first call that was noted at `time` or later. */
  #callAt(time: number): Call | null {
    let low = 0;
    let high = this.#calls.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#calls[middle] as Call).time < time) low = middle + 1;
      else high = middle;
    }
    return this.#calls[low] ?? null;
  }
}

function backwardOf(event: FunctionEvent): FunctionEvent | null {
  for (let at: FunctionEvent | null = event; at !== null; at = at.cpuParent)
    if (at.scope === "backward" || at.name.startsWith("autograd::engine::evaluate_function")) return at;
  return null;
}
const frameText = ({ file, line, name }: UserLine & { readonly name: string }): string => `${file}(${line}): ${name}`;
