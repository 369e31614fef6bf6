/** Streams and events: order and time on a device. */
import { ArgumentError } from "../errors.js";
import { type DeviceLike } from "../tensor/device.js";
import { handleOrZero, isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { indexOf } from "./device.js";
import { cudaFunction } from "./native.js";

const streamRegistry = new FinalizationRegistry<number>((id) => cudaFunction("streamFree", "Stream")(id));
const eventRegistry = new FinalizationRegistry<number>((id) => cudaFunction("eventFree", "Event")(id));

/** A queue of work on a device. */
export class Stream {
  /** @internal */
  readonly id: number;
  private constructor(id: number) {
    this.id = id;
    streamRegistry.register(this, id);
  }
  static create(options: { readonly device?: DeviceLike | number; readonly highPriority?: boolean } = {}): Stream {
    return new Stream(cudaFunction("streamCreate", "Stream")(indexOf(options.device, "Stream"), options.highPriority === true));
  }
  static current(device?: DeviceLike | number): Stream {
    return new Stream(cudaFunction("streamCurrent", "Stream")(indexOf(device, "Stream")));
  }
  synchronize(): void {
    cudaFunction("streamSynchronize", "Stream")(this.id);
  }
  /** Whether everything given to this stream has run; does not wait. */
  query(): boolean {
    return cudaFunction("streamQuery", "Stream")(this.id);
  }
  /**
   * Say that this stream uses a tensor that another one made (PyTorch's `record_stream`): its memory is given to others only when this stream has passed what it is given until then.
   * Without it, a tensor disposed of while this stream still reads it may be overwritten.
   */
  uses(tensor: Tensor): void {
    if (!isTensor(tensor) || tensor.device.type !== "cuda") throw new ArgumentError("Stream.uses", "a tensor on a CUDA device", tensor);
    cudaFunction("streamUses", "Stream")(handleOrZero(tensor), this.id);
  }
  /** Later work on this stream waits for the event. */
  waitEvent(event: Event): void {
    cudaFunction("eventWait", "Stream")(event.id, this.id);
  }
  waitStream(other: Stream): void {
    const event = new Event();
    event.record(other);
    this.waitEvent(event);
  }
  /** Run `fn` with this as the current stream. */
  run<T>(fn: () => T): T {
    const before = Stream.current();
    cudaFunction("streamSetCurrent", "Stream")(this.id);
    try {
      return fn();
    } finally {
      cudaFunction("streamSetCurrent", "Stream")(before.id);
    }
  }
}

/** A point in a stream. */
export class Event {
  /** @internal */
  readonly id: number;
  constructor(options: { readonly enableTiming?: boolean } = {}) {
    this.id = cudaFunction("eventCreate", "Event")(options.enableTiming === true);
    eventRegistry.register(this, this.id);
  }
  record(stream?: Stream): this {
    cudaFunction("eventRecord", "Event")(this.id, stream?.id ?? 0);
    return this;
  }
  synchronize(): void {
    cudaFunction("eventSynchronize", "Event")(this.id);
  }
  /** Whether the device has passed this point; does not wait. */
  query(): boolean {
    return cudaFunction("eventQuery", "Event")(this.id);
  }
  /** Milliseconds from this event to a later one; both with timing, both passed. */
  elapsedTime(end: Event): number {
    return cudaFunction("eventElapsed", "Event")(this.id, end.id);
  }
}
