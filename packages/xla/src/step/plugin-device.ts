/** A client of a PJRT plugin, as steps use it: without promises between one step and the next. */
import { XlaError } from "../errors.js";
import type { XlaClient } from "../client.js";
import { clientHandle } from "../client.js";
import { executableHandle, type Analysis, type XlaExecutable } from "../executable.js";
import type { LoweredStep } from "../lower/index.js";
import { isXlaDType, numberOf } from "../dtypes.js";
import { addon, type Handle } from "../native.js";
import type { DeviceBuffer, DeviceProgram, StepDevice } from "./device.js";

class PluginBuffer implements DeviceBuffer {
  constructor(readonly handle: Handle<"buffer">) {}
  readInto(address: number, bytes: number): void {
    addon().downloadNow(this.handle, address, bytes);
  }
  dispose(): void {
    addon().dispose(this.handle);
  }
}
function handleOf(buffer: DeviceBuffer): Handle<"buffer"> {
  if (buffer instanceof PluginBuffer) return buffer.handle;
  throw new XlaError("expected a buffer of this device.", "XLA_HANDLE");
}

class PluginProgram implements DeviceProgram {
  readonly executable: XlaExecutable;
  readonly #handle: Handle<"program">;

  constructor(executable: XlaExecutable) {
    this.executable = executable;
    this.#handle = executableHandle(executable);
  }
  execute(arguments_: readonly (readonly DeviceBuffer[])[], states: number): ReturnType<DeviceProgram["execute"]> {
    const given = arguments_.map((list) => list.map(handleOf));
    const made = addon().runNow(this.#handle, given, states);
    // What the step returns; a program without a result has its state, which is another's when the next step begins.
    const last = made.flatMap((list, d) => (list.length > 0 ? list : (given[d] ?? [])).slice(-1));
    return {
      results: made.map((list) => list.map((handle) => new PluginBuffer(handle))),
      done: async () => {
        await Promise.all(last.map((handle) => addon().ready(handle)));
      },
    };
  }
  analyse(): Promise<Analysis> {
    return this.executable.analyse();
  }
  dispose(): void {
    this.executable.dispose();
  }
}

/** All devices of a client. */
export class PluginDevice implements StepDevice {
  readonly name: string;
  readonly count: number;
  readonly float64: boolean;
  readonly client: XlaClient;
  readonly #handle: Handle<"client">;

  constructor(client: XlaClient) {
    this.client = client;
    this.name = client.platform.startsWith("xla") ? client.platform : `xla:${client.platform}`;
    this.count = client.devices.length;
    this.float64 = client.platform !== "tpu";
    this.#handle = clientHandle(client);
  }

  upload(device: number, address: number, bytes: number, dtype: string, shape: readonly number[]): DeviceBuffer {
    if (!isXlaDType(dtype)) throw new XlaError(`expected a dtype that PJRT has. Received: ${dtype}.`, "XLA_DTYPE");
    return new PluginBuffer(addon().uploadNow(this.#handle, device, numberOf(dtype), shape, address, bytes));
  }

  async compile({ text, partitions }: LoweredStep): Promise<DeviceProgram> {
    return new PluginProgram(await this.client.compile(text, { partitions }));
  }
}
