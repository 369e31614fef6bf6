/** Counts the floating point operations of what runs, as torch.utils.flop_counter.FlopCounterMode. */
import { startTrace, stopTrace, traceMark } from "../../autograd/trace.js";
import { ArgumentError, NbitError } from "../../errors.js";
import { byDefault, callable, flag, orNull, such, whole } from "../../kinds.js";
import { ModuleCalls } from "../../nn/module-calls.js";
import { Module } from "../../nn/module.js";
import { atMost, checkArguments } from "../../options.js";
import { isPlain } from "../../realm.js";
import { signature } from "../../signature.js";
import { isPromise } from "../../synchronous.js";
import { countFlops, type FlopCounts, type ModuleMark } from "./count.js";
import { formulas, type FlopFormula } from "./formulas.js";
import { flopTable } from "./table.js";

export interface FlopCounterOptions {
  /** Models whose modules to tell apart. Default: none, and all is "Global". */
  readonly mods?: Module | readonly Module[] | null;
  /** Levels of modules in the printed table. Default 2; null: all. */
  readonly depth?: number | null;
  /** Print the table at the end. Default true. */
  readonly display?: boolean;
  /** Formulas of this counter alone, by operator. */
  readonly customMapping?: Readonly<Record<string, FlopFormula>> | null;
}
const models = such<Module | readonly Module[] | null>(
  "a model, or an array of models",
  (value) =>
    value === null ||
    value instanceof Module ||
    (Array.isArray(value) && value.every((m: unknown) => m instanceof Module)),
);
const mapping = such<Readonly<Record<string, FlopFormula>> | null>(
  'an object of functions by operator, such as { "aten::mm": (args, out) => … }',
  (value) => value === null || (isPlain(value) && Object.values(value).every((f) => typeof f === "function")),
);
const DEPTH = orNull(whole("[0, ∞)"));
const read = signature("FlopCounterMode", {
  mods: byDefault(null, models),
  depth: byDefault(2, DEPTH),
  display: byDefault(true, flag),
  customMapping: byDefault(null, mapping),
});

/**
 * Counts what runs while it is open: products, convolutions and attention, forward and backward, by PyTorch's formulas
 * (see {@link registerFlopFormula}). Nothing else counts: sums, activations and norms are 0.
 *
 * Counts are PyTorch's, but for attention on the CPU and recurrent layers that oneDNN or cuDNN compute whole, which
 * PyTorch passes by. On the device "meta" it counts without computing.
 *
 * @example
 * const counter = new FlopCounterMode({ mods: model, display: false });
 * counter.run(() => model.forward(x).sum().backward());
 * counter.getTotalFlops();
 */
export class FlopCounterMode {
  readonly #models: readonly Module[];
  readonly #depth: number | null;
  readonly #display: boolean;
  readonly #formulas: Readonly<Record<string, FlopFormula>>;
  #counts: FlopCounts = new Map();
  #open: { readonly calls: readonly ModuleCalls[]; readonly marks: ModuleMark[]; readonly stack: string[] } | null =
    null;

  constructor(
    ...given:
      | readonly [options?: FlopCounterOptions]
      | readonly [
          mods: Module | readonly Module[] | null,
          depth?: number | null,
          display?: boolean,
          customMapping?: Readonly<Record<string, FlopFormula>> | null,
        ]
      | readonly [mods: Module | readonly Module[] | null, options: Omit<FlopCounterOptions, "mods">]
  ) {
    const { mods, depth, display, customMapping } = read(given);
    this.#models = mods === null ? [] : mods instanceof Module ? [mods] : mods;
    this.#depth = depth;
    this.#display = display;
    this.#formulas = customMapping ?? {};
  }

  /** Begin, from 0. @returns This. @throws {TorchError} `TRACE_NESTED` while another counter or trace is open. */
  start(): this {
    atMost("FlopCounterMode.start", arguments, 0);
    if (this.#open !== null)
      throw new NbitError(
        "FlopCounterMode.start: expected a counter that is closed. Received: an open one.",
        "TRACE_NESTED",
      );
    startTrace({ everyArgument: true });
    this.#counts = new Map();
    const marks: ModuleMark[] = [{ from: 0, modules: [] }];
    const stack: string[] = [];
    const note = (): void => void marks.push({ from: traceMark(), modules: [...stack] });
    const calls = this.#models.map(
      (model) =>
        new ModuleCalls(model, model.constructor.name, {
          enter: (name) => {
            stack.push(name);
            note();
          },
          leave: () => {
            stack.pop();
            note();
          },
        }),
    );
    this.#open = { calls, marks, stack };
    return this;
  }
  /** End, and print the table unless `display` is false. Does nothing where it is closed. */
  stop(): void {
    atMost("FlopCounterMode.stop", arguments, 0);
    if (!this.#end()) return;
    if (this.#display) process.stdout.write(`${this.getTable(this.#depth)}\n`);
  }
  #end(): boolean {
    if (this.#open === null) return false;
    const { calls, marks } = this.#open;
    this.#open = null;
    for (const each of [...calls].reverse()) each.stop();
    const { events, dropped } = stopTrace();
    if (dropped > 0)
      throw new NbitError(
        `FlopCounterMode: expected at most 1048576 operators. Received: ${dropped} more. Count one step and multiply.`,
        "TRACE_FULL",
      );
    countFlops(events, marks, formulas(this.#formulas), this.#counts);
    return true;
  }
  [Symbol.dispose](): void {
    this.stop();
  }
  /** Count what `fn` does. @returns What it returns. */
  run<T>(fn: () => T): T {
    atMost("FlopCounterMode.run", arguments, 1);
    checkArguments("FlopCounterMode.run", { fn }, { fn: callable });
    this.start();
    let waits = false;
    let done = false;
    try {
      const result = fn();
      waits = isPromise(result);
      done = !waits;
      return waits ? (Promise.resolve(result).finally(() => this.stop()) as T) : result;
    } finally {
      if (done) this.stop();
      else if (!waits) this.#end(); // by an error, which is what counts
    }
  }

  getTotalFlops(): number {
    atMost("FlopCounterMode.getTotalFlops", arguments, 0);
    return [...(this.#counts.get("Global")?.values() ?? [])].reduce((total, n) => total + n, 0);
  }
  /** By module (`Net.layers.0`; "Global": everything), then by operator (`aten.addmm`). */
  getFlopCounts(): Record<string, Record<string, number>> {
    atMost("FlopCounterMode.getFlopCounts", arguments, 0);
    return Object.fromEntries([...this.#counts].map(([name, own]) => [name, Object.fromEntries(own)]));
  }
  /** The counts as a table. @param given - Levels of modules; null: all. Default: the counter's `depth`. */
  getTable(given?: number | null): string {
    atMost("FlopCounterMode.getTable", arguments, 1);
    const depth = given === undefined ? this.#depth : given;
    if (!DEPTH.accepts(depth)) throw new ArgumentError("FlopCounterMode.getTable", `depth to be ${DEPTH.words}`, depth);
    return flopTable(this.#counts, depth ?? Infinity);
  }
}
