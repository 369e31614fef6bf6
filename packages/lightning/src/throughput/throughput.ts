/** Samples, tokens and FLOPs a second over a window, as lightning.fabric.utilities.throughput.Throughput. */
import { ArgumentError, atMost, checkOptions, kinds, withDefaults, type OptionNames } from "@nbit/torch";

export interface ThroughputOptions {
  /** Peak of one device, in FLOPs a second: `getAvailableFlops`. Null (default): no `mfu`. */
  readonly availableFlops?: number | null;
  /** Devices in all; with one there are no global figures. Default 1. */
  readonly worldSize?: number;
  /** Updates that an average is over. Default 100. */
  readonly windowSize?: number;
  /** Between `device` and the name of a figure. Default "/". */
  readonly separator?: string;
}
export const THROUGHPUT_ROWS = {
  availableFlops: kinds.byDefault(null, kinds.orNull(kinds.real("(0, ∞)"))),
  worldSize: kinds.byDefault(1, kinds.whole("[1, ∞)")),
  windowSize: kinds.byDefault(100, kinds.whole("[2, ∞)")),
  separator: kinds.byDefault("/", kinds.text),
} satisfies OptionNames<ThroughputOptions>;

/** What has been done since the beginning, but for `flops`: since the update before. */
export interface ThroughputUpdate {
  /** Seconds; more than before. */
  readonly time: number;
  /** Batches of this device; more than before. */
  readonly batches: number;
  /** Samples of this device; more than before, and at least one a batch. */
  readonly samples: number;
  /** Tokens, or whatever a sample is made of; more than before, and at least one a sample. */
  readonly lengths?: number;
  /** FLOPs of this device since the update before. */
  readonly flops?: number;
}
const TOTAL = kinds.real("[0, ∞)");
const UPDATE: OptionNames<ThroughputUpdate> = {
  time: TOTAL,
  batches: TOTAL,
  samples: TOTAL,
  lengths: TOTAL,
  flops: TOTAL,
};

/** The latest values, each greater than the one before. */
class Window {
  readonly #values: number[] = [];
  constructor(
    readonly name: string,
    readonly size: number,
  ) {}
  check(value: number): void {
    const { last } = this;
    if (last !== undefined && value <= last)
      throw new ArgumentError("Throughput.update", `${this.name} to be more than ${last}, as it was before`, value);
  }
  push(value: number): void {
    this.#values.push(value);
    if (this.#values.length > this.size) this.#values.shift();
  }
  get last(): number | undefined {
    return this.#values.at(-1);
  }
  get length(): number {
    return this.#values.length;
  }
  get isFull(): boolean {
    return this.#values.length === this.size;
  }
  get difference(): number {
    return (this.#values.at(-1) ?? 0) - (this.#values[0] ?? 0);
  }
  clear(): void {
    this.#values.length = 0;
  }
}

/**
 * Turns totals into rates: `time`, `batches`, `samples` and `lengths` as they were given last and, once the window is
 * full, `device/batches_per_sec`, `device/samples_per_sec`, `device/items_per_sec`, `device/flops_per_sec` and
 * `device/mfu` (the share of the device's peak); with several devices the same without `device/`, for all of them.
 *
 * Padding counts as items and FLOPs. A GPU has to be waited for before the time is taken.
 *
 * @example
 * const throughput = new Throughput({ windowSize: 10, availableFlops: 989e12 });
 * throughput.update({ time: 1.5, batches: 3, samples: 96, flops: 2e12 });
 * throughput.compute(); // { time: 1.5, batches: 3, samples: 96 }
 */
export class Throughput {
  readonly availableFlops: number | null;
  readonly worldSize: number;
  readonly windowSize: number;
  readonly separator: string;
  readonly #time: Window;
  readonly #batches: Window;
  readonly #samples: Window;
  readonly #lengths: Window;
  readonly #flops: number[] = [];

  constructor(options: ThroughputOptions = {}) {
    atMost("Throughput", arguments, 1);
    checkOptions("Throughput", options, THROUGHPUT_ROWS);
    const { availableFlops, worldSize, windowSize, separator } = withDefaults(options, THROUGHPUT_ROWS);
    this.availableFlops = availableFlops;
    this.worldSize = worldSize;
    this.windowSize = windowSize;
    this.separator = separator;
    this.#time = new Window("time", windowSize);
    this.#batches = new Window("batches", windowSize);
    this.#samples = new Window("samples", windowSize);
    this.#lengths = new Window("lengths", windowSize);
  }

  /** The time of the latest update, in seconds; 0 before. */
  get elapsed(): number {
    return this.#time.last ?? 0;
  }

  /** @throws {ArgumentError} for a total that has not grown, and leaves all as it was. */
  update(options: ThroughputUpdate): void {
    const fn = "Throughput.update";
    atMost(fn, arguments, 1);
    checkOptions(fn, options, UPDATE);
    const { time, batches, samples, lengths, flops } = options;
    for (const [name, value] of Object.entries({ time, batches, samples }))
      if (value === undefined) throw new ArgumentError(fn, `${name} to be a number`, value);
    this.#time.check(time);
    if (samples < batches) throw new ArgumentError(fn, `samples to be at least batches, ${batches}`, samples);
    this.#batches.check(batches);
    this.#samples.check(samples);
    if (lengths !== undefined) {
      if (lengths < samples) throw new ArgumentError(fn, `lengths to be at least samples, ${samples}`, lengths);
      this.#lengths.check(lengths);
      if (this.#lengths.length !== this.#samples.length)
        throw new ArgumentError(fn, "lengths in every update, or in none", lengths);
    }
    this.#time.push(time);
    this.#batches.push(batches);
    this.#samples.push(samples);
    if (lengths !== undefined) this.#lengths.push(lengths);
    if (flops !== undefined) {
      this.#flops.push(flops * this.worldSize);
      if (this.#flops.length > this.windowSize) this.#flops.shift();
    }
  }

  /** The figures of this moment. @throws {ArgumentError} before the first update. */
  compute(): Record<string, number> {
    atMost("Throughput.compute", arguments, 0);
    const { last: time } = this.#time;
    if (time === undefined) throw new ArgumentError("Throughput.compute", "an update before", undefined);
    const metrics: Record<string, number> = {
      time,
      batches: this.#batches.last ?? 0,
      samples: this.#samples.last ?? 0,
    };
    if (this.#lengths.last !== undefined) metrics["lengths"] = this.#lengths.last;
    const seconds = this.#time.difference;
    const rate = (name: string, perDevice: number): void => {
      metrics[`device${this.separator}${name}`] = perDevice;
      if (this.worldSize > 1) metrics[name] = perDevice * this.worldSize;
    };
    if (this.#time.isFull) {
      rate("batches_per_sec", this.#batches.difference / seconds);
      rate("samples_per_sec", this.#samples.difference / seconds);
      if (this.#lengths.isFull) rate("items_per_sec", this.#lengths.difference / seconds);
    }
    if (this.#flops.length === this.windowSize) {
      // Of the time after the first update in the window.
      const flops = this.#flops.slice(1).reduce((sum, n) => sum + n, 0) / seconds;
      const perDevice = flops / this.worldSize;
      rate("flops_per_sec", perDevice);
      if (this.availableFlops !== null) metrics[`device${this.separator}mfu`] = perDevice / this.availableFlops;
    }
    return metrics;
  }

  reset(): void {
    atMost("Throughput.reset", arguments, 0);
    for (const window of [this.#time, this.#batches, this.#samples, this.#lengths]) window.clear();
    this.#flops.length = 0;
  }
}
