/** From a recorded step to a StableHLO program. */
import { program as programs } from "@nbit/torch";
import { atMost } from "@nbit/torch/options";
import { XlaError } from "../errors.js";
import { EmitError, Emitter } from "../stablehlo/emitter.js";
import { Generator, STATE_ELEMENT, STATE_SHAPE } from "../stablehlo/random.js";
import { dtypeOf, elementOf, same, sizeOf, type Element, type Ssa } from "../stablehlo/types.js";
import { externalsOf, recordedDtype, type External } from "./externals.js";
import { missing, nameOf, placed, refused } from "./faults.js";
import { moduleText, type LoweredStep, type ProgramArgument, type ProgramResult } from "./lowered-step.js";
import { Memory, type Place } from "./memory.js";
import { Operation, typeShown, type Out, type Result, type Values } from "./operation.js";
import { checkLowerOptions, precisionOf, type LowerOptions } from "./options.js";
import { numberOf, type StepOperator, type StepProgram } from "./program.js";
import { loweringOf } from "./registry.js";
import { splitOfBatch, splitOfState, type SplitDim } from "./sharding.js";

/**
 * A recorded step as a StableHLO program: every operator by a lowering of its own, memory and views as values that are
 * assigned once.
 *
 * @param program - As `RecordedStep.program` or `program.fromData` give it.
 * @returns The text, with what its arguments and results are. Nothing is compiled.
 * @throws {XlaError} `XLA_NO_LOWERING` with all operators that have none; `XLA_LOWERING` for an argument, a dtype
 * or a shape that a lowering does not handle, with the operator, its place and its line; `XLA_SHARDING` for a batch
 * that does not divide; {ArgumentError} for what is no program.
 * @example
 * const { text, arguments: args } = lower(step.program, { lineOf: (i) => step.lineOf(i) });
 */
export function lower(program: StepProgram, options: LowerOptions = {}): LoweredStep {
  atMost("lower", arguments, 2);
  checkLowerOptions(options);
  programs.fromData(program);
  return new Lowerer(program, options).run();
}

class Lowerer {
  readonly #program: StepProgram;
  readonly #options: LowerOptions;
  readonly #emitter: Emitter;
  readonly #places: readonly Place[];
  readonly #memory: Memory;
  readonly #random = new Generator({ name: "%random", element: STATE_ELEMENT, shape: STATE_SHAPE });
  /** Values of the program at this point, as operations ask for them. */
  readonly #values: Values;

  constructor(program: StepProgram, options: LowerOptions) {
    this.#program = program;
    this.#options = options;
    this.#emitter = new Emitter(precisionOf(options));
    this.#places = program.values.map((v, i) => ({ ...v, element: this.#elementFor(i) }));
    this.#memory = new Memory(this.#places);
    const { values, buffers } = program;
    this.#values = {
      tensor: (v) => this.#memory.read(this.#emitter, v),
      number: (v) => (buffers[values[v].buffer].origin === "number" ? numberOf(values[v].number ?? null) : null),
      aside: (v) => this.#memory.region(v)?.asides.get(v) ?? null,
    };
  }

  #where(index: number): string {
    const { operators } = this.#program;
    return placed(operators[index], index, operators.length, this.#options.lineOf?.(index) ?? null);
  }
  #elementFor(value: number): Element {
    const { dtype, shape } = this.#program.values[value];
    const element = elementOf(dtype);
    const fail = (expected: string, received: string): XlaError => {
      const at = this.#program.operators.findIndex((o) => o.results.includes(value));
      return refused(at < 0 ? "lower" : this.#where(at), null, expected, received);
    };
    if (element === null) throw fail("a dtype that XLA has", dtype);
    if (element !== "f64" || this.#options.float64 === true) return element;
    if (sizeOf(shape) !== 1)
      throw fail("no tensors of float64, which not every device has (option float64)", `float64[${shape.join(", ")}]`);
    return "f32";
  }

  run(): LoweredStep {
    const program = this.#program;
    const views = this.#viewsAmong();
    const externals = externalsOf(program, this.#places, this.#memory);
    const inputs = externals.map((x, i): Ssa => ({ name: `%${x.kind}${i}`, element: x.element, shape: x.shape }));
    externals.forEach(({ value, region }, i) => {
      if (value !== null) this.#memory.write(this.#emitter, value, () => inputs[i]);
      else region.content = () => inputs[i];
    });
    this.#writeNumbers();
    program.operators.forEach((operator, i) => {
      if (!views.has(i)) this.#lowerOne(operator, i);
    });
    this.#emitter.where = "";
    const args = externals.map((x): ProgramArgument => this.#argumentOf(x));
    const names = inputs.map((v) => v.name);
    const states = args.filter((a) => a.kind === "state").length;
    const finals = externals.slice(0, states).map(({ value, region, shape }, i) => {
      if (value !== null) return this.#memory.read(this.#emitter, value);
      return this.#emitter.reshape(region.content?.() ?? inputs[i], shape);
    });
    const results = args.slice(0, states).map((a): ProgramResult => ({ ...resultOf(a), kind: "state" }));
    if (this.#random.drawn && this.#random.current !== null) {
      args.splice(states, 0, { ...RANDOM, donated: this.#options.donate !== "none" });
      names.splice(states, 0, "%random");
      finals.push(this.#random.current);
      results.push({ ...resultOf(RANDOM), kind: "random" });
    }
    for (const [name, value] of Object.entries(program.results)) {
      const { element, shape } = this.#places[value];
      finals.push(this.#memory.read(this.#emitter, value));
      results.push({ kind: "result", name, value, dtype: dtypeOf(element), shape, split: null });
    }
    const step = {
      arguments: args,
      results,
      random: this.#random.drawn,
      partitions: this.#options.partitions ?? 1,
      operators: {
        all: program.operators.length,
        views: views.size,
        kinds: [...new Set(program.operators.map(nameOf))].sort(),
      },
    };
    return { text: moduleText(this.#options, names, step, this.#emitter.lines, finals), ...step };
  }

  /** Operators that only look at memory that is there; the others must have lowerings. */
  #viewsAmong(): Set<number> {
    const { operators, buffers } = this.#program;
    const there = new Set(
      this.#places.flatMap(({ buffer }, v) => (buffers[buffer].origin === "made" ? [] : [this.#memory.region(v)])),
    );
    const views = new Set<number>();
    operators.forEach(({ results, writes }, i) => {
      const made = results.flatMap((v) => (v === null ? [] : [this.#memory.region(v)]));
      if (writes.length === 0 && made.length > 0 && made.every((r) => r === null || there.has(r))) views.add(i);
      for (const region of made) there.add(region);
    });
    const without = operators.flatMap((o, i) => (views.has(i) || loweringOf(nameOf(o)) !== null ? [] : [i]));
    if (without.length > 0) throw missing(operators, without, (i) => this.#where(i));
    return views;
  }

  #argumentOf(x: External): ProgramArgument {
    return {
      kind: x.kind,
      value: x.value,
      name: x.name,
      dtype: dtypeOf(x.element),
      shape: x.shape,
      memory: {
        buffer: x.region.buffer,
        value: x.first,
        dtype: recordedDtype(this.#program, x),
        offset: x.offset,
        strides: x.strides,
      },
      donated: x.kind === "state" && this.#options.donate !== "none",
      split: this.#splitOf(x),
    };
  }

  #writeNumbers(): void {
    const { values, buffers } = this.#program;
    this.#places.forEach(({ buffer, element, shape }, v) => {
      if (buffers[buffer].origin !== "number") return;
      const number = numberOf(values[v].number ?? null);
      this.#memory.write(this.#emitter, v, () => this.#emitter.full(number ?? NaN, element, shape));
    });
  }

  #lowerOne(operator: StepOperator, index: number): void {
    const name = nameOf(operator);
    const where = this.#where(index);
    const lowering = loweringOf(name);
    if (lowering === null) throw missing(this.#program.operators, [index], () => where);
    const targets = [...operator.results, ...operator.writes.filter((v) => !operator.results.includes(v))];
    this.#checkWrites(operator, where);
    const outs = targets.map((v): Out | null => (v === null ? null : this.#places[v]));
    const operation = new Operation(where, operator, outs, this.#values, this.#random);
    this.#emitter.where = `${name}.${index}`;
    let given: readonly Result[];
    try {
      given = lowering(this.#emitter, operation);
    } catch (error) {
      if (error instanceof EmitError)
        throw new XlaError(`${where}: ${error.message}.`, "XLA_LOWERING", { cause: error });
      throw error;
    }
    operation.checkLooked();
    if (given.length !== targets.length)
      throw refused(where, null, `a lowering of ${targets.length} results`, `one of ${given.length}`);
    targets.forEach((value, k) => {
      if (value === null) return;
      // A view among the results of an operator that also makes memory.
      if (!operator.writes.includes(value) && this.#memory.isThere(value)) return;
      const result = given[k];
      if (result === null) throw refused(where, null, `a lowering of result ${k}`, "none");
      this.#memory.write(this.#emitter, value, this.#checked(result, this.#places[value], `${where}, result ${k}`));
      const aside = operation.left(k);
      if (aside !== null) this.#memory.region(value)?.asides.set(value, aside);
    });
  }

  /** A lowering's result, compared with what was recorded: now, or when it is made. */
  #checked(result: Ssa | (() => Ssa), place: Place, where: string): () => Ssa {
    const check = (v: Ssa): Ssa => {
      if (v.element !== place.element || !same(v.shape, place.shape))
        throw refused(where, null, `${typeShown(place)}, as recorded`, typeShown(v));
      return v;
    };
    if (typeof result !== "function") {
      check(result);
      return () => result;
    }
    let made: Ssa | null = null;
    return () => (made ??= check(result()));
  }

  /** Two values that an operator writes must not be the same memory: which of them comes last is not said. */
  #checkWrites({ writes }: StepOperator, where: string): void {
    const reached = new Map<unknown, { begin: number; end: number }[]>();
    for (const v of writes) {
      const span = this.#memory.span(v);
      if (span === null) continue;
      const others = reached.get(span.region) ?? [];
      if (others.some((other) => span.begin < other.end && other.begin < span.end))
        throw refused(where, null, "tensors to write that share no memory", "two that do");
      reached.set(span.region, [...others, span]);
    }
  }

  #splitOf({ kind, name, shape }: External): SplitDim {
    const { partitions = 1, shard } = this.#options;
    if (partitions === 1 || shard === undefined) return null;
    if (kind === "state") return shard.state === "sharded" ? splitOfState(shape, partitions) : null;
    return name !== null && shard.batch.includes(name) ? splitOfBatch(name, shape, partitions) : null;
  }
}

const RANDOM: ProgramArgument = {
  kind: "random",
  value: null,
  name: null,
  dtype: dtypeOf(STATE_ELEMENT),
  shape: STATE_SHAPE,
  memory: null,
  donated: true,
  split: null,
};
const resultOf = ({ value, dtype, shape, split }: ProgramArgument): Omit<ProgramResult, "kind"> => ({
  name: null,
  value,
  dtype,
  shape,
  split,
});
