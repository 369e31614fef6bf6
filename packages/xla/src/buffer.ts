import { atMost } from "@nbit/torch/options";
import { dtypeOf, type XlaDType } from "./dtypes.js";
import { XlaError } from "./errors.js";
import { addon, type Handle } from "./native.js";

const handles = new WeakMap<XlaBuffer, Handle<"buffer">>();
/** @internal */
export function bufferHandle(fn: string, buffer: unknown): Handle<"buffer"> {
  const handle = handles.get(buffer as XlaBuffer);
  if (handle === undefined)
    throw new XlaError(
      `${fn}: expected an XlaBuffer. Make one with client.fromHost or executable.execute.`,
      "XLA_HANDLE",
    );
  return handle;
}

/**
 * An array in a device's memory. What computes it may still be running: reading waits, and tells its error.
 *
 * The memory is freed by `dispose()`, by donation to a program, when its client closes, or some time after nothing
 * refers to it any more. Using it after that is an `XlaError`: `XLA_BUFFER_DISPOSED`, `XLA_BUFFER_DONATED`, `XLA_CLOSED`.
 */
export class XlaBuffer implements Disposable {
  readonly dtype: XlaDType;
  readonly shape: readonly number[];
  /** Its place in the client's list of devices. */
  readonly device: number;
  /** Of its elements, without what a device pads. */
  readonly byteLength: number;

  /** @internal */
  constructor(handle: Handle<"buffer">) {
    const { type, dims, device, bytes } = addon().bufferInfo(handle);
    this.dtype = dtypeOf(type);
    this.shape = Object.freeze([...dims]);
    this.device = device;
    this.byteLength = bytes;
    handles.set(this, handle);
  }

  /** `"live"`, or why it can no longer be used. Does not wait. */
  get state(): "live" | "donated" | "disposed" | "closed" {
    return addon().bufferInfo(bufferHandle("state", this)).state;
  }

  /**
   * Its elements, dense, last dimension fastest. Waits, off the JavaScript thread, for what computes it.
   * @throws {XlaError} The error of what computes it; see the class for a buffer that is gone.
   */
  async toHost(): Promise<ArrayBuffer> {
    atMost("toHost", arguments, 0);
    return addon().download(bufferHandle("toHost", this));
  }

  /** Resolves when it is computed, and rejects with the error of what computes it. */
  async ready(): Promise<void> {
    atMost("ready", arguments, 0);
    return addon().ready(bufferHandle("ready", this));
  }

  /** Free its memory, after what was asked of it before. Again: nothing. */
  dispose(): void {
    atMost("dispose", arguments, 0);
    addon().dispose(bufferHandle("dispose", this));
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    return `XlaBuffer ${this.dtype} [${this.shape.join(", ")}] device ${this.device} ${this.state}`;
  }
}
