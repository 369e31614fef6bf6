/** The addon, loaded when it is first needed; its errors are ours. */
import { loadAddon } from "../lib/addon.mjs";
import { XlaError } from "./errors.js";

declare const brand: unique symbol;
/** What the addon hands out; it checks each one that it gets back. */
export interface Handle<K extends "plugin" | "client" | "topology" | "program" | "buffer"> {
  readonly [brand]: K;
}
export type NativeValue = string | number | boolean | readonly number[];
export type NativePairs = readonly (readonly [name: string, value: NativeValue])[];

export interface NativeDevice {
  readonly id: number;
  readonly process: number;
  /** -1 where nothing is attached. */
  readonly local: number;
  readonly kind: string;
  readonly text: string;
  readonly attributes: NativePairs;
}
export interface NativePlace {
  readonly platform: string;
  readonly version: string;
  readonly devices: readonly NativeDevice[];
}
export interface NativeMemory {
  readonly peak: number;
  readonly arguments: number;
  readonly outputs: number;
  readonly aliased: number;
  readonly temporaries: number;
  readonly code: number;
  readonly hostTemporaries: number;
}
export interface NativeFacts {
  readonly name: string;
  readonly fingerprint: string;
  readonly replicas: number;
  readonly partitions: number;
  readonly codeBytes: number | null;
  readonly memory: NativeMemory | null;
  readonly costs: NativePairs | null;
}
export interface NativeBuffer {
  readonly state: "live" | "donated" | "disposed" | "closed";
  readonly type: number;
  readonly dims: readonly number[];
  readonly device: number;
  readonly bytes: number;
}
export interface NativeStats {
  readonly bytesToDevice: number;
  readonly bytesToHost: number;
  readonly transfersToDevice: number;
  readonly transfersToHost: number;
  readonly executions: number;
  readonly liveBuffers: number;
  readonly liveBytes: number;
  readonly livePrograms: number;
}

export interface Addon {
  /** This JavaScript thread ends: wait for what runs, and close everything. */
  end(): void;
  provideErrors(make: (code: string, message: string) => Error): void;
  load(path: string, environment: readonly (readonly [string, string])[]): Promise<Handle<"plugin">>;
  pluginInfo(plugin: Handle<"plugin">): {
    readonly path: string;
    readonly major: number;
    readonly minor: number;
    readonly attributes: NativePairs;
    readonly missing: readonly string[];
  };
  createClient(plugin: Handle<"plugin">, options: NativePairs): Promise<Handle<"client">>;
  clientInfo(client: Handle<"client">): NativePlace;
  clientStats(client: Handle<"client">): NativeStats;
  closeClient(client: Handle<"client">): void;
  createTopology(plugin: Handle<"plugin">, name: string, options: NativePairs): Promise<Handle<"topology">>;
  topologyInfo(topology: Handle<"topology">): NativePlace;
  compile(client: Handle<"client">, text: string, options: Uint8Array): Promise<Handle<"program">>;
  compileFor(topology: Handle<"topology">, text: string, options: Uint8Array): Promise<Handle<"program">>;
  deserialize(client: Handle<"client">, bytes: Uint8Array): Promise<Handle<"program">>;
  programInfo(program: Handle<"program">): { readonly outputs: number; readonly devices: readonly number[] };
  analyse(program: Handle<"program">): Promise<NativeFacts>;
  optimized(program: Handle<"program">): Promise<{ readonly format: string; readonly bytes: ArrayBuffer }>;
  serialize(program: Handle<"program">): Promise<ArrayBuffer>;
  dispose(handle: Handle<"program"> | Handle<"topology"> | Handle<"buffer">): void;
  bufferInfo(buffer: Handle<"buffer">): NativeBuffer;
  upload(
    client: Handle<"client">,
    device: number,
    type: number,
    dims: readonly number[],
    bytes: ArrayBufferView | ArrayBuffer,
  ): Promise<Handle<"buffer">>;
  uploadMemory(
    client: Handle<"client">,
    device: number,
    type: number,
    dims: readonly number[],
    address: number,
    byteLength: number,
    keep: object,
  ): Promise<Handle<"buffer">>;
  download(buffer: Handle<"buffer">): Promise<ArrayBuffer>;
  downloadMemory(buffer: Handle<"buffer">, address: number, byteLength: number, keep: object): Promise<void>;
  ready(buffer: Handle<"buffer">): Promise<void>;
  run(
    program: Handle<"program">,
    lists: readonly (readonly Handle<"buffer">[])[],
    kept: readonly number[],
  ): Promise<readonly (readonly Handle<"buffer">[])[]>;
  runNow(
    program: Handle<"program">,
    lists: readonly (readonly Handle<"buffer">[])[],
    states: number,
  ): readonly (readonly Handle<"buffer">[])[];
  uploadNow(
    client: Handle<"client">,
    device: number,
    type: number,
    dims: readonly number[],
    address: number,
    byteLength: number,
  ): Handle<"buffer">;
  downloadNow(buffer: Handle<"buffer">, address: number, byteLength: number): void;
}

let loaded: Addon | null = null;
/** @throws {SetupError} `NBIT_NOT_SET_UP` or `NBIT_LOAD_FAILED`. */
export function addon(): Addon {
  if (loaded !== null) return loaded;
  const fresh = loadAddon() as Addon; // this very build: set-up compares hashes of its sources
  // Node.js calls no hook of an addon's when a program calls process.exit, and libraries that compile while their own
  // objects go crash.
  process.on("exit", function endPlugins() {
    fresh.end();
  });
  fresh.provideErrors((code, message) => new XlaError(message, code));
  return (loaded = fresh);
}
