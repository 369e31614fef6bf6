/** Recorded steps run by XLA on the CPU plugin, beside libtorch. */
import { program, tensorFromBytes, type DType, type Tensor } from "@nbit/torch";
import {
  findPlugins,
  lower,
  XlaPlugin,
  type LoweredStep,
  type LowerOptions,
  type ProgramArgument,
  type SplitDim,
  type XlaBuffer,
  type XlaClient,
  type XlaDType,
  type XlaExecutable,
} from "@nbit/xla";

/** The CPU plugin, or the one that `PJRT_PLUGIN_LIBRARY_PATH` names. */
const path = findPlugins().find((place) => place.path !== null && place.platform !== "tpu")?.path ?? null;
export const needsCpu = { skip: path === null && "needs the CPU plugin: nbit setup --xla" };

const clients = new Map<number, Promise<XlaClient>>();
/** A client of so many devices, one for this process. */
export function clientOf(devices = 1): Promise<XlaClient> {
  if (path === null) throw new Error("the CPU plugin is not set up");
  let client = clients.get(devices);
  if (client === undefined)
    clients.set(
      devices,
      (client = XlaPlugin.load(path).then((plugin) =>
        plugin.createClient(devices === 1 ? {} : { cpu_device_count: devices }),
      )),
    );
  return client;
}

/** `fn` recorded, or an error that says why it cannot be. */
export function recorded(fn: () => Record<string, Tensor>, parameters: Iterable<Tensor> = []): program.RecordedStep {
  return recordedWith({}, fn, parameters);
}
export function recordedWith(
  inputs: Readonly<Record<string, Tensor>>,
  fn: () => Record<string, Tensor>,
  parameters: Iterable<Tensor> = [],
): program.RecordedStep {
  const step = new program.RecordedStep({ inputs, parameters });
  step.record(fn);
  if (step.refusal !== null) throw new Error(`it cannot be recorded: ${step.refusal}`);
  return step;
}

interface Part {
  readonly dtype: DType;
  readonly shape: readonly number[];
}
/** What is run: a recorded step, or a program with its tensors. */
export type Recorded = Pick<program.RecordedStep, "program" | "externals">;
/** A step that runs on devices: its state stays there. */
export class DeviceStep {
  #state: XlaBuffer[][] = [];
  #results: XlaBuffer[][] = [];
  private constructor(
    readonly lowered: LoweredStep,
    readonly client: XlaClient,
    readonly executable: XlaExecutable,
    private readonly externals: Map<number, Tensor>,
    private readonly seed: bigint,
  ) {}

  static async of(step: Recorded, options: LowerOptions = {}, seed = 42n): Promise<DeviceStep> {
    const lowered = lower(step.program, { float64: true, ...options });
    const client = await clientOf(lowered.partitions);
    const executable = await client.compile(lowered.text, { partitions: lowered.partitions, cache: null });
    return new DeviceStep(lowered, client, executable, step.externals(), seed);
  }

  /** The tensor that an argument is, in libtorch's memory. */
  hostOf({ memory, value, shape, dtype }: ProgramArgument): Tensor {
    const found = memory === null ? undefined : this.externals.get(memory.value);
    if (found === undefined || memory === null) throw new Error(`no tensor for an argument (value ${value})`);
    const whole = value === null ? found.detach().asStrided(shape, memory.strides, memory.offset) : found.detach();
    return whole.dtype === dtype ? whole : whole.to(dtype);
  }
  async #upload(argument: ProgramArgument): Promise<XlaBuffer[]> {
    const { dtype, shape, split } = argument;
    const n = this.lowered.partitions;
    if (argument.kind === "random") {
      const words = new BigUint64Array([this.seed, 0n]);
      return Promise.all(places(n).map((device) => this.client.fromHost(words, { dtype: "uint64", shape, device })));
    }
    const host = this.hostOf(argument);
    return Promise.all(
      places(n).map((device) => {
        const part = split === null ? host : (host.chunk(n, split)[device] as Tensor);
        const bytes = part.contiguous().clone().toBytes();
        return this.client.fromHost(bytes, { dtype: dtype as XlaDType, shape: part.shape, device });
      }),
    );
  }

  /** One step: state as it is on the device, or at first as libtorch has it; everything else as libtorch has it. */
  async run(): Promise<void> {
    const args = this.lowered.arguments;
    const states = args.filter(({ kind }) => kind === "state" || kind === "random").length;
    if (this.#state.length === 0)
      for (const argument of args.slice(0, states)) this.#state.push(await this.#upload(argument));
    const rest: XlaBuffer[][] = [];
    for (const argument of args.slice(states)) rest.push(await this.#upload(argument));
    const all = [...this.#state, ...rest];
    const lists = places(this.lowered.partitions).map((device) => all.map((buffers) => buffers[device] as XlaBuffer));
    const results = await this.executable.executeOn(lists);
    this.#results = this.lowered.results.map((_, k) => results.map((list) => list[k] as XlaBuffer));
    this.#state = this.#results.slice(0, states);
  }

  async #read(k: number, { dtype, shape }: Part, split: SplitDim): Promise<Tensor> {
    const buffers = this.#results[k] as XlaBuffer[];
    const { cat } = await import("@nbit/torch");
    const parts = await Promise.all(
      (split === null ? buffers.slice(0, 1) : buffers).map(async (buffer) =>
        tensorFromBytes(await buffer.toHost(), dtype, split === null ? shape : buffer.shape),
      ),
    );
    return split === null ? (parts[0] as Tensor) : cat(parts, split);
  }
  /** What the step returned, by name. */
  async results(): Promise<Record<string, Tensor>> {
    const found: Record<string, Tensor> = {};
    for (const [k, result] of this.lowered.results.entries())
      if (result.kind === "result" && result.name !== null)
        found[result.name] = await this.#read(k, result, result.split);
    return found;
  }
  /** State after the latest step, with the argument that it is. */
  async state(): Promise<readonly { readonly argument: ProgramArgument; readonly value: Tensor }[]> {
    const found: { argument: ProgramArgument; value: Tensor }[] = [];
    for (const [k, result] of this.lowered.results.entries())
      if (result.kind === "state")
        found.push({
          argument: this.lowered.arguments[k] as ProgramArgument,
          value: await this.#read(k, result, result.split),
        });
    return found;
  }
}
const places = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** The largest difference over the largest finite number of `want`. Infinities and NaN have to be where they are. */
export function difference(got: Tensor, want: Tensor): number {
  const numbers = (t: Tensor): Float64Array => t.detach().to("float64").reshape([-1]).toTypedArray() as Float64Array;
  if (String(got.shape) !== String(want.shape) || got.dtype !== want.dtype) return Infinity;
  const [a, b] = [numbers(got), numbers(want)];
  let [worst, scale] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number];
    if (Number.isFinite(y)) scale = Math.max(scale, Math.abs(y));
    if (Object.is(x, y) || x === y) continue;
    worst = Math.max(worst, Number.isFinite(x - y) ? Math.abs(x - y) : Infinity);
  }
  return worst === 0 ? 0 : worst / Math.max(scale, 1e-30);
}
