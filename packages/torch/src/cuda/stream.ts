/** Streams and events: order and time on a device. */
import { callable, either, flag, whole } from "../kinds.js";
import { deviceKind } from "../tensor/kinds.js";
import { ArgumentError } from "../errors.js";
import { type DeviceLike } from "../tensor/device.js";
import { handleOrZero, isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { indexOf } from "./device.js";
import { cudaFunction } from "./native.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";

const streamRegistry = new FinalizationRegistry<number>((id) => cudaFunction("streamFree", "Stream")(id));
const eventRegistry = new FinalizationRegistry<number>((id) => cudaFunction("eventFree", "Event")(id));

export interface StreamOptions {
  /** Default: the current device. */
  readonly device?: DeviceLike | number;
  /** Its work goes before that of other streams. Default false. */
  readonly highPriority?: boolean;
}
export interface EventOptions {
  /** Note the time, for {@link Event.elapsedTime}. Default false. */
  readonly enableTiming?: boolean;
}
const STREAM: OptionNames<StreamOptions> = { device: either(deviceKind, whole("[0, ∞)")), highPriority: flag };
const EVENT: OptionNames<EventOptions> = { enableTiming: flag };

/** A stream that is there already: nobody outside has one of these. */
class Existing {
  constructor(readonly id: number) {}
}

/**
 * A queue of work on a device.
 * @throws {NbitError} `CUDA_UNAVAILABLE` where there is no GPU.
 */
export class Stream {
  /** @internal */
  readonly id: number;
  constructor(options?: StreamOptions);
  constructor(options: StreamOptions | Existing = {}) {
    atMost("cuda.Stream", arguments, 1);
    if (!(options instanceof Existing)) checkOptions("cuda.Stream", options, STREAM);
    this.id =
      options instanceof Existing
        ? options.id
        : cudaFunction("streamCreate", "Stream")(indexOf(options.device, "Stream"), options.highPriority === true);
    streamRegistry.register(this, this.id);
  }
  static create(options: StreamOptions = {}): Stream {
    atMost("Stream.create", arguments, 1);
    return new Stream(options);
  }
  static current(device?: DeviceLike | number): Stream {
    atMost("Stream.current", arguments, 1);
    return new Stream(
      new Existing(cudaFunction("streamCurrent", "Stream")(indexOf(device, "Stream"))) as StreamOptions,
    );
  }
  synchronize(): void {
    atMost("Stream.synchronize", arguments, 0);
    cudaFunction("streamSynchronize", "Stream")(this.id);
  }
  /** Whether everything given to this stream has run; does not wait. */
  query(): boolean {
    atMost("Stream.query", arguments, 0);
    return cudaFunction("streamQuery", "Stream")(this.id);
  }
  /**
   * Say that this stream uses a tensor that another one made (PyTorch's `record_stream`): its memory is given to others
   * only when this stream has passed what it is given until then. Without it, a tensor disposed of while this stream
   * still reads it may be overwritten.
   */
  uses(tensor: Tensor): void {
    atMost("Stream.uses", arguments, 1);
    if (!isTensor(tensor) || tensor.device.type !== "cuda")
      throw new ArgumentError("Stream.uses", "a tensor on a CUDA device", tensor);
    cudaFunction("streamUses", "Stream")(handleOrZero(tensor), this.id);
  }
  /** Later work on this stream waits for the event. */
  waitEvent(event: Event): void {
    atMost("Stream.waitEvent", arguments, 1);
    if (!(event instanceof Event)) throw new ArgumentError("Stream.waitEvent", "an Event", event);
    cudaFunction("eventWait", "Stream")(event.id, this.id);
  }
  waitStream(other: Stream): void {
    atMost("Stream.waitStream", arguments, 1);
    if (!(other instanceof Stream)) throw new ArgumentError("Stream.waitStream", "a Stream", other);
    const event = new Event();
    event.record(other);
    this.waitEvent(event);
  }
  /** Run `fn` with this as the current stream. */
  run<T>(fn: () => T): T {
    atMost("Stream.run", arguments, 1);
    checkArguments("Stream.run", { fn }, { fn: callable });
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
  constructor(options: EventOptions = {}) {
    atMost("cuda.Event", arguments, 1);
    checkOptions("cuda.Event", options, EVENT);
    this.id = cudaFunction("eventCreate", "Event")(options.enableTiming === true);
    eventRegistry.register(this, this.id);
  }
  record(stream?: Stream): this {
    atMost("Event.record", arguments, 1);
    if (stream !== undefined && !(stream instanceof Stream))
      throw new ArgumentError("Event.record", "a Stream", stream);
    cudaFunction("eventRecord", "Event")(this.id, stream?.id ?? 0);
    return this;
  }
  synchronize(): void {
    atMost("Event.synchronize", arguments, 0);
    cudaFunction("eventSynchronize", "Event")(this.id);
  }
  /** Whether the device has passed this point; does not wait. */
  query(): boolean {
    atMost("Event.query", arguments, 0);
    return cudaFunction("eventQuery", "Event")(this.id);
  }
  /** Milliseconds from this event to a later one; both with timing, both passed. */
  elapsedTime(end: Event): number {
    atMost("Event.elapsedTime", arguments, 1);
    if (!(end instanceof Event)) throw new ArgumentError("Event.elapsedTime", "an Event", end);
    return cudaFunction("eventElapsed", "Event")(this.id, end.id);
  }
}

/** The stream that this thread gives work of a device to. */
export function currentStream(device?: DeviceLike | number): Stream {
  atMost("cuda.currentStream", arguments, 1);
  return Stream.current(device);
}
/** Make a stream this thread's, for good. Prefer `stream.run(fn)`, which ends. */
export function setStream(stream: Stream): void {
  atMost("cuda.setStream", arguments, 1);
  if (!(stream instanceof Stream)) throw new ArgumentError("cuda.setStream", "a Stream", stream);
  cudaFunction("streamSetCurrent", "cuda.setStream")(stream.id);
}
