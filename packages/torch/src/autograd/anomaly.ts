/** Where a NaN in a backward comes from: the forward operator and the line of the program that called it. */
import { describeLine, userLine } from "../dtype-mismatch.js";
import { addToMessage, NbitError } from "../errors.js";
import { byDefault, callable, flag } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { isError } from "../realm.js";
import { signature } from "../signature.js";
import { isPromise, refusePromise } from "../synchronous.js";
import { startTrace, stopTrace, traceMark, type TraceEvent } from "./trace.js";
import { setWatch, watch, type Watch } from "./watch.js";

/** A node of a backward returned NaN. */
export class AnomalyError extends NbitError {
  constructor(message: string) {
    super(message, "ERR_ANOMALY");
  }
}

interface Origin {
  readonly name: string;
  /** Where it was called, as the engine says it. */
  readonly stack: string | undefined;
}
/** Forward operators whose nodes are remembered: a step of a large model has some thousands. */
const MOST = 1 << 18;

class AnomalyWatch implements Watch {
  /** By the number that links a node to the operator that made it. */
  readonly #origins = new Map<number, Origin>();
  #calls: { readonly mark: number; readonly stack: string | undefined }[] = [];

  constructor(readonly checkNan: boolean) {
    startTrace({ checkValues: checkNan });
  }
  called(): void {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = Math.max(limit, 64); // the program's line may be far up
    const { stack } = new Error();
    Error.stackTraceLimit = limit;
    this.#calls.push({ mark: traceMark(), stack });
  }
  backward(run: () => void, returns: boolean): void {
    this.#collect(stopTrace().events);
    startTrace({ checkValues: this.checkNan });
    let failure: { readonly error: unknown } | null = null;
    try {
      run();
    } catch (error) {
      failure = { error };
    }
    const { events } = stopTrace();
    startTrace({ checkValues: this.checkNan });
    this.#collect(events);
    if (failure !== null) {
      const last = events.findLast((e) => e.scope === "backward" && e.sequence >= 0);
      if (last !== undefined && isError(failure.error) && !failure.error.message.includes("comes from"))
        addToMessage(failure.error, this.#say(last));
      throw failure.error;
    }
    const node = this.checkNan ? (nanMaker(events) ?? (returns ? lastNan(events) : null)) : null;
    if (node !== null)
      throw new AnomalyError(`${plain(node)} returned NaN, from gradients without any. ${this.#say(node)}`);
  }
  end(): void {
    stopTrace();
  }

  #say(node: TraceEvent): string {
    const origin = this.#origins.get(node.sequence);
    if (origin === undefined) return `${plain(node)} comes from an operator that ran before the anomaly mode.`;
    return `${plain(node)} comes from ${origin.name.replace(/^aten::/, "")}.${describeLine(userLine(origin.stack))}`;
  }
  /** Remember which operator, and which line, made each node. */
  #collect(events: readonly TraceEvent[]): void {
    let at = 0;
    events.forEach((event, i) => {
      while (at < this.#calls.length && (this.#calls[at] as { readonly mark: number }).mark <= i) at++;
      if (event.scope !== "forward" || event.sequence < 0 || this.#origins.has(event.sequence)) return;
      this.#origins.set(event.sequence, { name: event.name, stack: this.#calls[at]?.stack });
      if (this.#origins.size > MOST) this.#origins.delete(this.#origins.keys().next().value as number);
    });
    this.#calls = [];
  }
}
const plain = (event: TraceEvent): string => event.name.replace(/^.*::/, "");

/**
 * The first node that made NaN of gradients without any: the one that ran last before an operator whose result, NaN, is
 * given to a later node.
 */
function nanMaker(events: readonly TraceEvent[]): TraceEvent | null {
  let node: TraceEvent | null = null;
  const madeIn = new Map<number, TraceEvent | null>();
  for (const event of events) {
    if (event.scope === "backward") {
      for (const input of event.inputs) {
        if (input?.bad !== "nan" || input.id === undefined) continue;
        const maker = madeIn.get(input.id) ?? null;
        if (maker !== null && !maker.inputs.some((given) => given?.bad === "nan")) return maker;
      }
      node = event;
    } else for (const output of event.outputs) if (output?.id !== undefined) madeIn.set(output.id, node);
  }
  return null;
}

/**
 * The same where no later node is given the NaN, because the caller is: a node that leaves NaN which none of its own
 * operators uses.
 */
function lastNan(events: readonly TraceEvent[]): TraceEvent | null {
  let node: TraceEvent | null = null;
  const left = new Map<number, TraceEvent>();
  for (const event of events) {
    for (const input of event.inputs) if (input?.id !== undefined) left.delete(input.id);
    if (event.scope === "backward") node = event;
    else if (node !== null && !node.inputs.some((given) => given?.bad === "nan"))
      for (const output of event.outputs)
        if (output?.bad === "nan" && output.id !== undefined) left.set(output.id, node);
  }
  return left.values().next().value ?? null;
}

let current: AnomalyWatch | null = null;
function turn(mode: boolean, checkNan: boolean): void {
  current?.end();
  current = null;
  setWatch(null);
  if (!mode) return;
  current = new AnomalyWatch(checkNan);
  setWatch(current);
}

const readSet = signature("setDetectAnomaly", { mode: flag, checkNan: byDefault(true, flag) });
/**
 * From here on, a backward that makes NaN is an error that names the forward operator and the line of the program that
 * called it; so is said where another error of a backward comes from. For finding mistakes: every operator is traced
 * and its values are read, which waits for the device and costs many times the time.
 *
 * @throws {AnomalyError} in `backward`, once it has ended: `SqrtBackward0 returned NaN, from gradients without any.
 * SqrtBackward0 comes from sqrt. At train.ts:12:20: const y = x.sqrt();`
 * @throws {TorchError} `TRACE_NESTED` while `traceOperators` runs.
 */
export function setDetectAnomaly(
  ...given:
    | readonly [mode: boolean, checkNan?: boolean]
    | readonly [mode: boolean, options: { readonly checkNan?: boolean }]
    | readonly [options: { readonly mode: boolean; readonly checkNan?: boolean }]
): void {
  const { mode, checkNan } = readSet(given);
  turn(mode, checkNan);
}
/** Whether it is on. */
export function isAnomalyEnabled(): boolean {
  atMost("isAnomalyEnabled", arguments, 0);
  return watch !== null;
}
export interface DetectAnomalyOptions {
  /** false: only say where errors come from. Default true. */
  readonly checkNan?: boolean;
}
const DETECT: OptionNames<DetectAnomalyOptions> = { checkNan: flag };
/** The same while `fn` runs. */
export function detectAnomaly<T>(fn: () => T, options: DetectAnomalyOptions = {}): T {
  atMost("detectAnomaly", arguments, 2);
  checkArguments("detectAnomaly", { fn }, { fn: callable });
  checkOptions("detectAnomaly", options, DETECT);
  const before = current;
  turn(true, options.checkNan ?? true);
  try {
    const result = fn();
    if (isPromise(result))
      refusePromise(
        result,
        "detectAnomaly: expected a synchronous function. Received: a function that returns a promise.",
        "ERR_ASYNC_MODE",
      );
    return result;
  } finally {
    turn(before !== null, before?.checkNan ?? true);
  }
}
