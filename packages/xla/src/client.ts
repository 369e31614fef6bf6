import { ArgumentError } from "@nbit/torch/files";
import { atMost, checkArguments, checkOptions, kinds } from "@nbit/torch/options";
import { isBuffer, isUint8Array } from "@nbit/torch/realm";
import { XlaBuffer, bufferHandle } from "./buffer.js";
import { ExecutableCache } from "./cache.js";
import { COMPILE_OPTIONS, compileOptions, encodeCompileOptions, type CompileOptions } from "./compile-options.js";
import { devicesOf, type XlaDevice } from "./devices.js";
import { isXlaDType, numberOf, type XlaDType } from "./dtypes.js";
import { XlaError } from "./errors.js";
import { XlaExecutable } from "./executable.js";
import { addon, type Handle, type NativeStats } from "./native.js";
import { argumentsOf } from "./signature.js";

export interface ClientCompileOptions extends CompileOptions {
  /** Where compiled programs are kept. Default: a cache with its defaults. null: nowhere. */
  readonly cache?: ExecutableCache | null;
}
export interface FromHostOptions {
  readonly dtype: XlaDType;
  readonly shape: readonly number[];
  /** Place in the client's list of devices. Default 0. */
  readonly device?: number;
}
/** Memory outside of JavaScript, such as a tensor's. */
export interface HostMemory {
  readonly address: number;
  readonly byteLength: number;
  /** Stays reachable till the memory was read or written. */
  readonly owner: object;
}
/** What crossed between the host and the devices of a client since it began, and what is there now. */
export type XlaStats = NativeStats;

/** @internal What a client's programs depend on beside their text and options. */
export interface ClientOrigin {
  readonly handle: Handle<"client">;
  readonly identity: string;
}

const dtype = kinds.such<XlaDType>("a dtype that PJRT has, such as float32", isXlaDType);
const dims = kinds.listOf(kinds.whole("[0, ∞)"));
const viewOrBuffer = kinds.such<ArrayBufferView | ArrayBufferLike>(
  "a typed array, a DataView or an ArrayBuffer",
  (v) => ArrayBuffer.isView(v) || isBuffer(v),
);
const bytes = kinds.such<Uint8Array | ArrayBuffer>(
  "an ArrayBuffer or a Uint8Array",
  (v) => isUint8Array(v) || isBuffer(v),
);

const handles = new WeakMap<XlaClient, Handle<"client">>();
/** @internal */
export function clientHandle(client: XlaClient): Handle<"client"> {
  const handle = handles.get(client);
  if (handle === undefined) throw new XlaError("expected a client. Make one with plugin.createClient.", "XLA_HANDLE");
  return handle;
}

/** The devices of a plugin, for one program that runs: `plugin.createClient()` makes one. */
export class XlaClient {
  readonly platform: string;
  readonly platformVersion: string;
  /** Those of this process, in the plugin's order. */
  readonly devices: readonly XlaDevice[];
  readonly #handle: Handle<"client">;
  readonly #identity: string;
  #cache: ExecutableCache | null = null;

  /** @internal */
  constructor({ handle, identity }: ClientOrigin) {
    const { platform, version, devices } = addon().clientInfo(handle);
    this.#handle = handle;
    handles.set(this, handle);
    this.platform = platform;
    this.platformVersion = version;
    this.devices = devicesOf(devices);
    this.#identity = [identity, platform, version, ...this.devices.map(({ kind }) => kind)].join("\n");
  }

  /**
   * Compile StableHLO text, or read the program from the cache. Seconds to minutes, off the JavaScript thread; one
   * compilation of a plugin at a time.
   *
   * @param program - A module in MLIR's text form, with a function `main`.
   * @throws {XlaError} What the compiler says, or `XLA_CLOSED`.
   */
  async compile(program: string, options: ClientCompileOptions = {}): Promise<XlaExecutable> {
    atMost("compile", arguments, 2);
    checkArguments("compile", { program }, { program: kinds.filled });
    checkOptions("compile", options, {
      ...COMPILE_OPTIONS,
      cache: kinds.orNull(kinds.instanceOf("an ExecutableCache", ExecutableCache)),
    });
    const { cache = (this.#cache ??= new ExecutableCache()), ...others } = options;
    const filled = compileOptions("compile", others);
    const ids = filled.devices.map((place) => deviceAt("compile", this.devices, place).id);
    const encoded = encodeCompileOptions(filled, ids);
    const key = ExecutableCache.key([this.#identity, encoded, program]);
    const made = { partitions: filled.partitions, signature: argumentsOf(program) };
    const kept = cache === null ? null : await cache.get(key);
    if (kept !== null) {
      const handle = await addon()
        .deserialize(this.#handle, kept)
        .catch(() => null); // of a plugin that has changed in spite of its name: compiled anew
      if (handle !== null) return new XlaExecutable({ handle, ...made, fromCache: true });
    }
    const began = performance.now();
    const handle = await addon().compile(this.#handle, program, encoded);
    const executable = new XlaExecutable({ handle, ...made, fromCache: false });
    if (cache !== null && performance.now() - began >= cache.minSeconds * 1e3)
      await executable.serialize().then(
        (serialized) => cache.put(key, new Uint8Array(serialized)),
        () => undefined, // plugins need not be able to
      );
    return executable;
  }

  /**
   * A program that `serialize` gave, on a machine with the same plugin and kind of device. Bytes of another plugin's are
   * its own to refuse: load what comes from a place that you trust.
   */
  async load(
    serialized: Uint8Array | ArrayBuffer,
    options: { readonly partitions?: number } = {},
  ): Promise<XlaExecutable> {
    atMost("load", arguments, 2);
    checkArguments("load", { serialized }, { serialized: bytes });
    checkOptions("load", options, { partitions: kinds.whole("[1, 65536]") });
    const handle = await addon().deserialize(this.#handle, new Uint8Array(serialized));
    return new XlaExecutable({ handle, partitions: options.partitions ?? 1, signature: null, fromCache: false });
  }

  /**
   * Elements of an array to a device. They are copied before this returns; resolves when the device has them.
   *
   * @param data - Dense, last dimension fastest, of exactly the bytes that dtype and shape take.
   * @throws {XlaError} `XLA_SHAPE` for another number of bytes, `XLA_CLOSED`, or the plugin's own, such as
   * `XLA_RESOURCE_EXHAUSTED`.
   */
  async fromHost(data: ArrayBufferView | ArrayBuffer, options: FromHostOptions): Promise<XlaBuffer> {
    atMost("fromHost", arguments, 2);
    checkArguments("fromHost", { data }, { data: viewOrBuffer });
    const { device, type, shape } = placement("fromHost", options, this.devices);
    const source = isBuffer(data) ? new Uint8Array(data) : data;
    return new XlaBuffer(await addon().upload(this.#handle, device, type, shape, source));
  }

  /** @internal The same from memory that its owner keeps as it is until this resolves; nothing is copied before. */
  async fromMemory(memory: HostMemory, options: FromHostOptions): Promise<XlaBuffer> {
    const { device, type, shape } = placement("fromMemory", options, this.devices);
    const { address, byteLength, owner } = memory;
    return new XlaBuffer(await addon().uploadMemory(this.#handle, device, type, shape, address, byteLength, owner));
  }

  /** @internal A buffer's elements into memory that its owner keeps until this resolves. */
  async toMemory(buffer: XlaBuffer, memory: HostMemory): Promise<void> {
    await addon().downloadMemory(bufferHandle("toMemory", buffer), memory.address, memory.byteLength, memory.owner);
  }

  /**
   * Bytes and transfers between host and devices, runs, and what lives. Counts elements, without what devices pad.
   * @throws {XlaError} `XLA_CLOSED`.
   */
  stats(): XlaStats {
    atMost("stats", arguments, 0);
    return addon().clientStats(this.#handle);
  }

  /**
   * Give up the devices: everything that came from this client is refused from now on. What runs ends first, and another
   * process can have them then.
   */
  close(): void {
    atMost("close", arguments, 0);
    addon().closeClient(this.#handle);
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

interface Placement {
  readonly device: number;
  /** PJRT's number of the dtype. */
  readonly type: number;
  readonly shape: readonly number[];
}
function placement(fn: string, options: FromHostOptions, devices: readonly XlaDevice[]): Placement {
  checkOptions(fn, options, { dtype, shape: dims, device: kinds.whole("[0, ∞)") });
  // Both must be given, which only TypeScript has seen to.
  checkArguments(fn, { dtype: options.dtype, shape: options.shape }, { dtype, shape: dims });
  const { device = 0, shape } = options;
  deviceAt(fn, devices, device);
  return { device, type: numberOf(options.dtype), shape };
}

function deviceAt(fn: string, devices: readonly XlaDevice[], place: number): XlaDevice {
  const device = devices[place];
  if (device === undefined)
    throw new ArgumentError(fn, `a device below ${devices.length}, the devices of this client`, place);
  return device;
}
