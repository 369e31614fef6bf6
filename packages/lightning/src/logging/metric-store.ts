import { inspect } from "node:util";
import type { Audience, Results } from "./results.js";

/** Values kept after their loop has moved on, by audience. */
type Kept = Record<Audience, Map<string, number>>;

/**
 * What the Trainer shows as `callbackMetrics`, `loggedMetrics` and `progressBarMetrics`: values kept from loops that
 * have ended, over which lie the live ones of the loop that runs. Live values are read when asked for.
 */
export class MetricStore {
  #active: Results | null = null;
  /** True between the start of a batch and the end of the epoch: values of steps count, not of the epoch. */
  #onStep = false;
  #kept: Kept = emptyKept();

  get active(): Results | null {
    return this.#active;
  }

  /** Another loop begins to log. Its first values are per epoch until `startBatch`. */
  activate(results: Results | null, onStep = false): void {
    this.keepLive();
    this.#active = results;
    this.#onStep = onStep;
  }

  startBatch(batch: unknown, dataloaderIdx: number | null): void {
    this.#onStep = true;
    this.#active?.startBatch(batch, dataloaderIdx);
  }

  get onStep(): boolean {
    return this.#onStep;
  }

  /** Batches are over: from here on, the values are those of the epoch. */
  endEpoch(): void {
    this.keepLive();
    this.#onStep = false;
  }

  /** Copies what is live now, so that it outlives a reset. */
  keepLive(): void {
    const active = this.#active;
    if (active === null) return;
    for (const audience of ["callback", "logger", "progBar"] as const) {
      active.each(audience, this.#onStep, (name, read) => this.#kept[audience].set(name, read()));
    }
  }

  /** Adds values that were not logged through a module (learning rates, for example). */
  add(metrics: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(metrics)) this.#kept.callback.set(name, value);
  }

  /** Names are listed for nothing; each value is read on access. */
  view(audience: Audience): Readonly<Record<string, number>> {
    const record: Record<string, number> = {};
    const define = (name: string, get: () => number): void => {
      Object.defineProperty(record, name, { get, enumerable: true, configurable: true });
    };
    for (const [name, value] of this.#kept[audience]) record[name] = value;
    this.#active?.each(audience, this.#onStep, define);
    // console.log shows values, not getters.
    Object.defineProperty(record, inspect.custom, { value: () => ({ ...record }), enumerable: false });
    return record;
  }

  /** This step's (or epoch's) values for the loggers, as plain numbers. Waits for the device. */
  readForLoggers(): Record<string, number> {
    const record: Record<string, number> = {};
    this.#active?.each("logger", this.#onStep, (name, read) => {
      record[name] = read();
    });
    return record;
  }

  /** The same of this step, to be read when a device has them. Waits for nothing. */
  forLoggersLater(): () => Record<string, number> {
    const later: [string, () => number][] = [];
    this.#active?.eachMetric("logger", this.#onStep, (name, metric) => {
      later.push([name, this.#onStep ? metric.stepLater() : () => metric.epoch()]);
    });
    return () => Object.fromEntries(later.map(([name, read]) => [name, read()]));
  }

  /** Forget everything: a new run begins. */
  reset(): void {
    this.#kept = emptyKept();
    this.#active?.reset();
  }

  stateDict(): Record<string, number> {
    return Object.fromEntries(this.#kept.callback);
  }

  loadStateDict(state: Readonly<Record<string, number>>): void {
    this.#kept.callback = new Map(Object.entries(state));
  }
}

function emptyKept(): Kept {
  return { callback: new Map(), logger: new Map(), progBar: new Map() };
}
