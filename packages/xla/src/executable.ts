import { ArgumentError } from "@nbit/torch/files";
import { atMost, checkArguments, checkOptions, kinds } from "@nbit/torch/options";
import { XlaBuffer, bufferHandle } from "./buffer.js";
import { XlaError } from "./errors.js";
import { countInstructions } from "./hlo.js";
import { addon, type Handle, type NativeMemory } from "./native.js";
import type { Argument } from "./signature.js";

/** Bytes that a program needs on each device, by its compiler's own account. */
export interface CompiledMemory {
  /** The most that is there at once. */
  readonly peak: number;
  readonly arguments: number;
  readonly outputs: number;
  /** Of the outputs that take the memory of donated arguments. */
  readonly aliased: number;
  /** 0, or more than there really are, for small programs on TPUs: trust `peak`. */
  readonly temporaries: number;
  readonly code: number;
}
/** What a compiler says of a program, per device. Null is what it does not say. */
export interface Analysis {
  readonly name: string;
  readonly partitions: number;
  readonly fingerprint: string | null;
  readonly memory: CompiledMemory | null;
  readonly flops: number | null;
  readonly bytesAccessed: number | null;
  readonly transcendentals: number | null;
  /** By the compiler's model of the chip; calls whose time it does not know count nothing. */
  readonly optimalSeconds: number | null;
  /** Everything that its cost analysis lists, by name. */
  readonly costs: ReadonlyMap<string, number>;
}

export interface ExecuteOptions {
  /** Arguments, by position, that stay whole although the program would take their memory. */
  readonly keep?: readonly number[];
}

/** @internal What an executable is made of. */
export interface ExecutableParts {
  readonly handle: Handle<"program">;
  readonly partitions: number;
  readonly signature: readonly Argument[] | null;
  readonly fromCache: boolean;
}

const handles = new WeakMap<XlaExecutable, Handle<"program">>();
/** @internal */
export function executableHandle(executable: XlaExecutable): Handle<"program"> {
  const handle = handles.get(executable);
  if (handle === undefined) throw new XlaError("expected an executable. Make one with client.compile.", "XLA_HANDLE");
  return handle;
}

/**
 * A compiled program. One that was compiled for a topology tells about itself and cannot run; one of a client runs on its
 * devices.
 */
export class XlaExecutable implements Disposable {
  readonly partitions: number;
  /** How many arrays a run gives, on each device. */
  readonly outputs: number;
  /** Places in the client's list of devices, in the order of lists of arguments; empty where it cannot run. */
  readonly devices: readonly number[];
  /** What `main` declares; null where that could not be read from its text. Of one partition: exact shapes. */
  readonly signature: readonly Argument[] | null;
  /** It was read from the cache on disk, and not compiled. */
  readonly fromCache: boolean;
  readonly #handle: Handle<"program">;

  /** @internal */
  constructor({ handle, partitions, signature, fromCache }: ExecutableParts) {
    const { outputs, devices } = addon().programInfo(handle);
    this.#handle = handle;
    handles.set(this, handle);
    this.partitions = partitions;
    this.outputs = outputs;
    this.devices = Object.freeze([...devices]);
    this.signature = signature;
    this.fromCache = fromCache;
  }

  /**
   * Run on one device.
   *
   * Resolves when the run has begun: results are buffers that may still be computing. Runs of a client begin in the order
   * in which they are asked for. Arguments that the program aliases to results are donated, and gone afterwards.
   *
   * @param args - One buffer for each argument, on the program's device.
   * @throws {XlaError} `XLA_SIGNATURE` for another number, dtype or shape than `main` declares; `XLA_BUFFER_DONATED`,
   * `XLA_BUFFER_DISPOSED`, `XLA_DEVICE`, `XLA_OTHER_CLIENT`, `XLA_NOT_LOADED`, `XLA_CLOSED`, or the plugin's own.
   */
  async execute(args: readonly XlaBuffer[], options: ExecuteOptions = {}): Promise<XlaBuffer[]> {
    atMost("execute", arguments, 2);
    checkArguments("execute", { args }, { args: kinds.listOf(kinds.instanceOf("an XlaBuffer", XlaBuffer)) });
    const [results] = await this.executeOn([args], options);
    return results ?? [];
  }

  /** The same on several devices, with a list of arguments for each, and results for each. */
  async executeOn(lists: readonly (readonly XlaBuffer[])[], options: ExecuteOptions = {}): Promise<XlaBuffer[][]> {
    atMost("executeOn", arguments, 2);
    checkArguments(
      "executeOn",
      { lists },
      { lists: kinds.listOf(kinds.listOf(kinds.instanceOf("an XlaBuffer", XlaBuffer))) },
    );
    checkOptions("executeOn", options, { keep: kinds.listOf(kinds.whole("[0, ∞)")) });
    if (lists.length !== Math.max(this.devices.length, 1))
      throw new ArgumentError("executeOn", `${this.devices.length} lists of arguments, one for each device`, lists);
    for (const args of lists) this.#checkSignature(args);
    const handles = lists.map((args) => args.map((buffer) => bufferHandle("execute", buffer)));
    const results = await addon().run(this.#handle, handles, options.keep ?? []);
    return results.map((list) => list.map((handle) => new XlaBuffer(handle)));
  }

  #checkSignature(args: readonly XlaBuffer[]): void {
    if (this.signature === null) return;
    const fail = (expected: string, received: string): XlaError =>
      new XlaError(`execute: expected ${expected}. Received: ${received}.`, "XLA_SIGNATURE");
    if (args.length !== this.signature.length)
      throw fail(`${this.signature.length} arguments, as the program declares`, String(args.length));
    for (const [i, { dtype, shape }] of this.signature.entries()) {
      const given = args[i];
      if (given === undefined) continue;
      // A partition sees its share of an argument, which annotations alone tell.
      const fits = given.dtype === dtype && (this.partitions > 1 || shape.join() === given.shape.join());
      if (!fits)
        throw fail(`argument ${i} to be ${dtype} [${shape.join(", ")}]`, `${given.dtype} [${given.shape.join(", ")}]`);
    }
  }

  /** What the compiler says of it. Off the JavaScript thread; milliseconds. */
  async analyse(): Promise<Analysis> {
    atMost("analyse", arguments, 0);
    const facts = await addon().analyse(this.#handle);
    const costs = new Map<string, number>();
    for (const [name, value] of facts.costs ?? []) if (typeof value === "number") costs.set(name, value);
    const cost = (name: string): number | null => {
      const value = costs.get(name);
      return value === undefined || value < 0 ? null : value; // negative: the compiler has no estimate
    };
    return {
      name: facts.name,
      partitions: facts.partitions,
      fingerprint: facts.fingerprint === "" ? null : facts.fingerprint,
      memory: facts.memory === null ? null : memoryOf(facts.memory, facts.codeBytes),
      flops: cost("flops"),
      bytesAccessed: cost("bytes accessed"),
      transcendentals: cost("transcendentals"),
      optimalSeconds: secondsOf(costs.get("optimal_seconds")),
      costs,
    };
  }

  /** The program as the compiler left it: `hlo` or `hlo_with_config`, protocol buffers of XLA's. */
  async optimizedProgram(): Promise<{ readonly format: string; readonly bytes: ArrayBuffer }> {
    atMost("optimizedProgram", arguments, 0);
    return addon().optimized(this.#handle);
  }

  /** How many instructions of each kind are in the optimized program: `all-reduce`, `fusion`, `dot` and so on. */
  async countInstructions(): Promise<ReadonlyMap<string, number>> {
    atMost("countInstructions", arguments, 0);
    const { format, bytes } = await this.optimizedProgram();
    return countInstructions(new Uint8Array(bytes), format);
  }

  /**
   * Bytes that `XlaClient.load` takes, on a machine with the same plugin and kind of device.
   * @throws {XlaError} `XLA_UNIMPLEMENTED` where the plugin cannot.
   */
  async serialize(): Promise<ArrayBuffer> {
    atMost("serialize", arguments, 0);
    return addon().serialize(this.#handle);
  }

  /** Give it up, after the runs that were asked for. Again: nothing. */
  dispose(): void {
    atMost("dispose", arguments, 0);
    addon().dispose(this.#handle);
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** XLA sums its estimates in float32, with -1 for each custom call. */
function secondsOf(sum: number | undefined): number | null {
  if (sum === undefined) return null;
  const seconds = sum < 0 ? sum + Math.ceil(-sum) : sum;
  return seconds > 0 ? seconds : null;
}

function memoryOf(memory: NativeMemory, codeBytes: number | null): CompiledMemory {
  const { peak, arguments: taken, outputs, aliased, temporaries, code } = memory;
  return { peak, arguments: taken, outputs, aliased, temporaries, code: code > 0 ? code : (codeBytes ?? 0) };
}
