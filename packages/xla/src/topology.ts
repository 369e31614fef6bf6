import { atMost, checkArguments, kinds } from "@nbit/torch/options";
import { compileOptions, encodeCompileOptions, type CompileOptions } from "./compile-options.js";
import { devicesOf, type XlaDevice } from "./devices.js";
import { XlaExecutable } from "./executable.js";
import { addon, type Handle } from "./native.js";
import { argumentsOf } from "./signature.js";

/** Chips that programs are compiled for, whether or not there are any. */
export class XlaTopology implements Disposable {
  readonly name: string;
  readonly platform: string;
  readonly platformVersion: string;
  readonly devices: readonly XlaDevice[];
  readonly #handle: Handle<"topology">;

  /** @internal */
  constructor(handle: Handle<"topology">, name: string) {
    const { platform, version, devices } = addon().topologyInfo(handle);
    this.#handle = handle;
    this.name = name;
    this.platform = platform;
    this.platformVersion = version;
    this.devices = devicesOf(devices);
  }

  /**
   * Compile StableHLO text for these chips. The executable tells about its memory and cost; it cannot run. Seconds to
   * minutes, off the JavaScript thread; one compilation of a plugin at a time.
   *
   * @throws {XlaError} What the compiler says, `XLA_INVALID_ARGUMENT` for example.
   */
  async compile(program: string, options: CompileOptions = {}): Promise<XlaExecutable> {
    atMost("compile", arguments, 2);
    checkArguments("compile", { program }, { program: kinds.filled });
    const filled = compileOptions("compile", options);
    const ids = filled.devices.map((place) => this.devices[place]?.id ?? place);
    const handle = await addon().compileFor(this.#handle, program, encodeCompileOptions(filled, ids));
    const { partitions } = filled;
    return new XlaExecutable({ handle, partitions, signature: argumentsOf(program), fromCache: false });
  }

  /** Give it up. Executables that were compiled for it stay. */
  dispose(): void {
    atMost("dispose", arguments, 0);
    addon().dispose(this.#handle);
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
