/** What ran: every operator of a region with its dtypes, shapes and time. Costs nothing while no trace runs. */
import { native } from "../native.js";
import { callable, flag } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { isPromise, refusePromise } from "../synchronous.js";
import { deviceOfCode } from "../tensor/device.js";
import { dtypeName, type DType } from "../tensor/dtype.js";

export interface TracedTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly device: string;
  /**
   * With `checkValues`: which tensor this is (an address, so a later tensor may have it again), and whether it holds
   * anything that is not finite.
   */
  readonly id?: number;
  readonly bad?: "inf" | "nan" | null;
}
export interface TraceEvent {
  /** Such as `aten::addmm` or `AddmmBackward0`. */
  readonly name: string;
  /** Operators that run inside others are one deeper. */
  readonly depth: number;
  readonly scope: "forward" | "backward";
  /** Links a backward node to the operator that made it; -1 when there is none. */
  readonly sequence: number;
  /** Seconds since the trace began, and spent (CPU time of the call; a GPU may still be working). */
  readonly start: number;
  readonly seconds: number;
  /** Tensors only; lists are flattened; null for an undefined tensor. */
  readonly inputs: readonly (TracedTensor | null)[];
  readonly outputs: readonly (TracedTensor | null)[];
  /** @internal Every argument by position, a tensor as its shape; where that was asked for. */
  readonly arguments?: readonly TracedArgument[];
}
/** A tensor as its shape, a list, a number, a flag; null for nothing and for anything else. */
export type TracedArgument = number | boolean | null | readonly TracedArgument[];
export interface Trace<T> {
  readonly result: T;
  readonly events: readonly TraceEvent[];
  /** Events beyond the first 1,048,576. */
  readonly dropped: number;
}

export interface TraceOptions {
  /**
   * Read every value, and say which tensors hold infinities or NaN. Waits for the device at every operator. Default
   * false.
   */
  readonly checkValues?: boolean;
}
const NAMES: OptionNames<TraceOptions> = { checkValues: flag };

interface RawTensor {
  readonly dtype: number;
  readonly device: number;
  readonly shape: readonly number[];
  readonly id?: number;
  readonly bad?: number;
}
interface RawEvent extends Omit<TraceEvent, "inputs" | "outputs" | "scope"> {
  readonly backward: boolean;
  readonly inputs: readonly (RawTensor | null)[];
  readonly outputs: readonly (RawTensor | null)[];
}

function tensorOf(raw: RawTensor | null): TracedTensor | null {
  if (raw === null) return null;
  const checked =
    raw.id === undefined
      ? {}
      : { id: raw.id, bad: raw.bad === 2 ? ("nan" as const) : raw.bad === 1 ? ("inf" as const) : null };
  return { dtype: dtypeName(raw.dtype), shape: raw.shape, device: deviceOfCode(raw.device).toString(), ...checked };
}

/** @internal */
export function startTrace(options: TraceOptions & { readonly everyArgument?: boolean } = {}): void {
  native.traceStart(options.checkValues === true, options.everyArgument === true);
}
/** @internal */
export function stopTrace(): { readonly events: TraceEvent[]; readonly dropped: number } {
  const raw = JSON.parse(native.traceStop()) as { readonly dropped: number; readonly events: readonly RawEvent[] };
  return {
    dropped: raw.dropped,
    events: raw.events.map(({ backward, inputs, outputs, ...e }) => ({
      ...e,
      scope: backward ? "backward" : "forward",
      inputs: inputs.map(tensorOf),
      outputs: outputs.map(tensorOf),
    })),
  };
}
/**
 * The number of events so far in the running trace: note it to know later which events a part of the program caused.
 */
export function traceMark(): number {
  atMost("traceMark", arguments, 0);
  return native.traceMark();
}

/**
 * Run `fn` and list every operator that it ran, in order.
 * @throws {TorchError} `TRACE_NESTED` inside another trace.
 * @example trace(() => a.mm(b)).events.map((e) => `${e.name} → ${e.outputs[0]?.dtype}`); // ["aten::mm → float32"]
 */
export function trace<T>(fn: () => T, options: TraceOptions = {}): Trace<T> {
  atMost("traceOperators", arguments, 2);
  checkArguments("traceOperators", { fn }, { fn: callable });
  checkOptions("traceOperators", options, NAMES);
  startTrace(options);
  let result: T;
  try {
    result = fn();
  } catch (error) {
    stopTrace();
    throw error;
  }
  const { events, dropped } = stopTrace();
  if (isPromise(result))
    refusePromise(
      result,
      "trace: expected a synchronous function. Received: a function that returns a promise.",
      "ERR_ASYNC_MODE",
    );
  return { result, events, dropped };
}
