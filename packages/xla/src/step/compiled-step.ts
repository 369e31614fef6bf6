/** A recorded step, compiled for a device and run there on memory that stays there. */
import { empty, outsideScopes, type program, scope, type DType, type Tensor } from "@nbit/torch";
import { defer, isDeferred } from "@nbit/torch/deferred";
import { XlaError } from "../errors.js";
import type { Analysis } from "../executable.js";
import { lower, type LoweredStep, type LowerOptions, type ProgramArgument } from "../lower/index.js";
import type { DeviceBuffer, DeviceProgram, StepDevice } from "./device.js";
import { download, upload, type Layout } from "./layout.js";
import type { RandomState } from "./random-state.js";
import { storageOf, type Residents } from "./residents.js";
import type { Resident } from "./resident.js";

export interface CompileStepOptions extends Pick<LowerOptions, "float32MatmulPrecision" | "partitions"> {
  /** Tensors that the program knows: parameters, buffers, optimizer state. They sleep while the device's are newer. */
  readonly known: Iterable<Tensor>;
  /** With several devices: state is split among them, too. */
  readonly shardState?: boolean;
}

/** Room for a number of each dtype, kept. */
const numbers = new Map<DType, Tensor>();

/** One value that a run has left on the device. */
export class DeviceValue {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly #buffers: readonly DeviceBuffer[];
  readonly #layout: Layout;

  constructor(buffers: readonly DeviceBuffer[], layout: Layout) {
    this.dtype = layout.dtype;
    this.shape = layout.shape;
    this.#buffers = buffers;
    this.#layout = layout;
  }
  /** A tensor of the host that gets the values when somebody uses it. */
  tensor(): Tensor {
    const made = empty(this.shape, { dtype: this.dtype });
    const memory = outsideScopes(() => made.detach());
    defer(made, () => {
      download(this.#buffers, this.#layout, memory);
      memory.dispose();
    });
    return made;
  }
  /** Of one element. Waits for the device. */
  number(): number {
    let into = numbers.get(this.dtype);
    if (into === undefined || into.disposed) {
      into = outsideScopes(() => empty([], { dtype: this.dtype }));
      numbers.set(this.dtype, into);
    }
    download(this.#buffers, { ...this.#layout, shape: [] }, into);
    return into.item();
  }
}

interface Bound {
  readonly argument: ProgramArgument;
  readonly layout: Layout;
  /** Null: an input, which is another tensor in each run, or the generator's state. */
  readonly place: { readonly resident: Resident; readonly region: number } | null;
}

/** Whose memory an argument is, to see whether it has moved. */
interface Home {
  readonly member: Tensor;
  readonly storage: number;
}

export interface StepRun {
  /** What the step returned, by name. */
  readonly results: Readonly<Record<string, DeviceValue>>;
  /** What it returns resolves when the device is done with the step. */
  readonly done: () => Promise<void>;
}

export class CompiledStep {
  readonly lowered: LoweredStep;
  /** Of compiling, the cache of executables included. */
  readonly seconds: number;
  /** What the compiler says of its memory and cost, on each device. */
  readonly analysis: Analysis;
  readonly #device: StepDevice;
  readonly #program: DeviceProgram;
  readonly #bound: readonly Bound[];
  readonly #homes: readonly Home[];
  readonly #random: RandomState;
  /** Arguments whose new values are the first results. */
  readonly #states: number;
  /** The other results. */
  readonly #returned: readonly { readonly name: string; readonly layout: Layout }[];

  private constructor(parts: {
    lowered: LoweredStep;
    seconds: number;
    analysis: Analysis;
    device: StepDevice;
    program: DeviceProgram;
    bound: readonly Bound[];
    homes: readonly Home[];
    random: RandomState;
  }) {
    this.lowered = parts.lowered;
    this.seconds = parts.seconds;
    this.analysis = parts.analysis;
    this.#device = parts.device;
    this.#program = parts.program;
    this.#bound = parts.bound;
    this.#homes = parts.homes;
    this.#random = parts.random;
    const { results, partitions } = parts.lowered;
    this.#states = results.filter(({ kind }) => kind !== "result").length;
    this.#returned = results
      .slice(this.#states)
      .map(({ name, dtype, shape, split }) => ({ name: name ?? "", layout: { dtype, shape, split, partitions } }));
  }

  /**
   * @throws {XlaError} As `lower`; `XLA_STATE` for memory that the step writes and that is no tensor of `known`;
   *   what the compiler says.
   */
  static async compile(
    step: program.RecordedStep,
    residents: Residents,
    random: RandomState,
    options: CompileStepOptions,
  ): Promise<CompiledStep> {
    const { device } = residents;
    const { partitions = 1, float32MatmulPrecision = "highest", shardState = false, known } = options;
    const { program: recorded } = step;
    const lowered = lower(recorded, {
      lineOf: (operator) => step.lineOf(operator),
      float32MatmulPrecision,
      float64: device.float64,
      partitions,
      shard: { batch: Object.keys(recorded.inputs), state: shardState ? "sharded" : "replicated" },
    });
    const { bound, homes } = scope(() => bind(step, lowered, residents, new Set(known)));
    const before = performance.now();
    const compiled = await device.compile(lowered);
    const seconds = (performance.now() - before) / 1000;
    const analysis = await compiled.analyse();
    return new CompiledStep({ lowered, seconds, analysis, device, program: compiled, bound, homes, random });
  }

  /** Whether the tensors of the program still have the memory that they had. */
  get isWhereItWas(): boolean {
    return this.#homes.every(
      ({ member, storage }) => isDeferred(member) || (!member.disposed && storageOf(member) === storage),
    );
  }

  /** Start the step on other inputs, by their names. Returns at once. */
  run(inputs: Readonly<Record<string, Tensor>>): StepRun {
    const uploaded: (readonly DeviceBuffer[])[] = [];
    const arguments_ = this.#bound.map(({ argument, layout, place }) => {
      if (argument.kind === "random") return this.#random.buffers(this.#device, layout);
      if (place !== null) return place.resident.argument(place.region, layout);
      const input = inputs[argument.name ?? ""];
      if (input === undefined)
        throw new XlaError(`CompiledStep.run: expected the input ${argument.name}. Received: none.`, "XLA_INPUT");
      const buffers = upload(this.#device, input, layout);
      uploaded.push(buffers);
      return buffers;
    });
    const partitions = this.lowered.partitions;
    const lists = Array.from({ length: partitions }, (_, d) => arguments_.map((buffers) => buffers[d] as DeviceBuffer));
    const { results, done } = this.#program.execute(lists, this.#states);
    // State has its new values in the buffers that it had.
    for (let k = 0; k < this.#states; k++) {
      const { argument, place } = this.#bound[k] as Bound;
      if (argument.kind === "random") this.#random.drawn();
      else if (place !== null) place.resident.wrote(place.region);
      else for (const buffer of arguments_[k] ?? []) buffer.dispose(); // an input, in which the step wrote
    }
    const named: Record<string, DeviceValue> = {};
    this.#returned.forEach(({ name, layout }, i) => {
      named[name] = new DeviceValue(
        results.map((ofDevice) => ofDevice[i] as DeviceBuffer),
        layout,
      );
    });
    return { results: named, done };
  }

  dispose(): void {
    this.#program.dispose();
  }
}

/** Each argument with its memory on the host. */
function bind(
  step: program.RecordedStep,
  lowered: LoweredStep,
  residents: Residents,
  known: ReadonlySet<Tensor>,
): { bound: Bound[]; homes: Home[] } {
  const { program: recorded } = step;
  const byBuffer = new Map<number, Tensor>();
  for (const [value, external] of step.externals()) {
    const buffer = recorded.values[value]?.buffer ?? -1;
    if (!byBuffer.has(buffer)) byBuffer.set(buffer, external);
  }
  const members = new Map<number, Tensor[]>();
  for (const member of known) {
    const storage = storageOf(member);
    members.set(storage, [...(members.get(storage) ?? []), member]);
  }
  const inputs = new Set(Object.keys(recorded.inputs));
  const homes: Home[] = [];
  const bound = lowered.arguments.map((argument): Bound => {
    const { dtype, shape, split, memory } = argument;
    const layout: Layout = { dtype, shape, split, partitions: lowered.partitions };
    if (memory === null || (argument.name !== null && inputs.has(argument.name)))
      return { argument, layout, place: null };
    const any = byBuffer.get(memory.buffer);
    if (any === undefined)
      throw new XlaError("CompiledStep: expected memory that was there before the step.", "XLA_STATE");
    const home = (any.dtype === memory.dtype ? any : any.view(memory.dtype)).asStrided(
      shape,
      memory.strides,
      memory.offset,
    );
    const storage = storageOf(home);
    const own = members.get(storage) ?? [];
    if (argument.kind === "state" && own.length === 0) throw unknownState(step, argument);
    const resident = residents.of(home);
    for (const member of own) {
      resident.add(member);
      homes.push({ member, storage });
    }
    return { argument, layout, place: { resident, region: resident.region(home) } };
  });
  return { bound, homes };
}

function unknownState(step: program.RecordedStep, { value, dtype, shape }: ProgramArgument): XlaError {
  const { operators } = step.program;
  const at = operators.findIndex(({ writes }) => value !== null && writes.includes(value));
  const line = at < 0 ? null : step.lineOf(at);
  return new XlaError(
    `expected steps to write tensors of the module and its optimizers only. Received: ${operators[at]?.name ?? "an operator"}, which writes ${dtype}[${shape.join(", ")}]${line === null ? "" : ` (${line})`}. Register it: this.registerBuffer(name, tensor).`,
    "XLA_STATE",
  );
}
