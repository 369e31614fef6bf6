/** Measures how long a function takes, as torch.utils.benchmark.Timer. */
import { getNumThreads, setNumThreads } from "../../backend.js";
import * as cuda from "../../cuda/index.js";
import { byDefault, callable, orNull, real, text, whole } from "../../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames, withDefaults } from "../../options.js";
import { isPromise, refusePromise } from "../../synchronous.js";
import { scope } from "../../tensor/scope.js";
import { Measurement, type TaskSpec } from "./measurement.js";

export interface TimerOptions {
  /** What is measured. Its tensors are freed after every call. */
  readonly stmt: () => unknown;
  /** Called once before each measurement. */
  readonly setup?: () => unknown;
  /** Seconds; called before and after. Default: a clock that waits for the GPU where there is one. */
  readonly timer?: () => number;
  /** What the measurements of one table share. */
  readonly label?: string | null;
  /** Tells rows of the table apart. */
  readonly subLabel?: string | null;
  /** Tells columns apart. */
  readonly description?: string | null;
  /** Tells surroundings of equal tasks apart, such as two builds. */
  readonly env?: string | null;
  /** Threads of an operator meanwhile. Default 1. */
  readonly numThreads?: number;
}
const TEXT = orNull(text);
const OPTIONS = {
  stmt: callable,
  setup: callable,
  timer: callable,
  label: byDefault(null, TEXT),
  subLabel: byDefault(null, TEXT),
  description: byDefault(null, TEXT),
  env: byDefault(null, TEXT),
  numThreads: byDefault(1, whole("[1, 1024]")),
} satisfies OptionNames<TimerOptions>;

export interface AutorangeOptions {
  /** Told of every measurement: calls, seconds. */
  readonly callback?: (number: number, seconds: number) => void;
  /** Seconds to measure at least. Default 0.2, of `adaptiveAutorange` 0.01. */
  readonly minRunTime?: number;
}
export interface AdaptiveOptions extends AutorangeOptions {
  /** Spread, as a share of the median, at which it is enough. Default 0.1. */
  readonly threshold?: number;
  /** Seconds to measure at most. Default 10. */
  readonly maxRunTime?: number;
}
const SECONDS = real("(0, ∞)");
const AUTORANGE: OptionNames<AutorangeOptions> = { callback: callable, minRunTime: SECONDS };
const ADAPTIVE: OptionNames<AdaptiveOptions> = { ...AUTORANGE, threshold: SECONDS, maxRunTime: SECONDS };

/** A clock in seconds, after all that was given to the GPU. */
function clock(): number {
  if (cuda.isAvailable()) cuda.synchronize();
  return performance.now() / 1e3;
}

/**
 * Measures a function: with warm-up, many calls per look at the clock, a fixed number of threads, and the GPU waited
 * for.
 *
 * @example
 * const t = new Timer({ stmt: () => x.matmul(y), label: "matmul", description: "float32" });
 * console.log(String(t.blockedAutorange({ minRunTime: 1 })));
 */
export class Timer {
  readonly #stmt: () => unknown;
  readonly #setup: () => unknown;
  readonly #clock: () => number;
  readonly #task: TaskSpec;

  constructor(options: TimerOptions) {
    atMost("Timer", arguments, 1);
    checkOptions("Timer", options, OPTIONS);
    checkArguments("Timer", { stmt: options.stmt }, { stmt: callable });
    const { stmt, setup, timer, label, subLabel, description, env, numThreads } = withDefaults(options, OPTIONS);
    this.#stmt = stmt;
    this.#setup = setup ?? (() => undefined);
    this.#clock = timer ?? clock;
    this.#task = { stmt: textOf(stmt), label, subLabel, description, env, numThreads };
  }

  /** Measure so many calls as one, after some to warm up. */
  timeit(number = 1_000_000): Measurement {
    atMost("Timer.timeit", arguments, 1);
    checkArguments("Timer.timeit", { number }, { number: whole("[1, ∞)") });
    return this.#withThreads(() => {
      this.#time(Math.max(Math.floor(number / 100), 2));
      return new Measurement(number, [this.#time(number)], this.#task);
    });
  }

  /**
   * Measure again and again for `minRunTime` seconds, each time so many calls that looking at the clock does not count.
   */
  blockedAutorange(options: AutorangeOptions = {}): Measurement {
    atMost("Timer.blockedAutorange", arguments, 1);
    checkOptions("Timer.blockedAutorange", options, AUTORANGE);
    const { minRunTime = 0.2 } = options;
    return this.#measure(minRunTime, { minRunTime, callback: options.callback, maxRunTime: Infinity }, () => true);
  }

  /** Measure until the spread of the times is below a share of their median, or until `maxRunTime`. */
  adaptiveAutorange(options: AdaptiveOptions = {}): Measurement {
    atMost("Timer.adaptiveAutorange", arguments, 1);
    checkOptions("Timer.adaptiveAutorange", options, ADAPTIVE);
    const { threshold = 0.1, minRunTime = 0.01, maxRunTime = 10, callback } = options;
    return this.#measure(
      0.05,
      { minRunTime, maxRunTime, callback },
      (so) => so.rawTimes.length > 3 && so.meetsConfidence(threshold),
    );
  }

  #measure(
    blockTime: number,
    limits: {
      readonly minRunTime: number;
      readonly maxRunTime: number;
      readonly callback: AutorangeOptions["callback"];
    },
    isEnough: (soFar: Measurement) => boolean,
  ): Measurement {
    return this.#withThreads(() => {
      const number = this.#blockSize(blockTime);
      const times: number[] = [];
      let total = 0;
      let measured: Measurement;
      do {
        const time = this.#time(number);
        times.push(time);
        total += time;
        limits.callback?.(number, time);
        measured = new Measurement(number, times, this.#task);
      } while (total <= limits.maxRunTime && (total < limits.minRunTime || !isEnough(measured)));
      return measured;
    });
  }

  /** Calls per look at the clock, so that looking is a ten-thousandth of them. */
  #blockSize(minRunTime: number): number {
    const looks = Array.from({ length: 5 }, () => this.#time(0)).sort((a, b) => a - b);
    const overhead = looks[2] as number;
    let number = 1;
    for (;;) {
      const time = this.#time(number);
      if (overhead / time <= 1e-4 && time >= minRunTime / 1000) return number;
      if (time > minRunTime || number >= 1e8) return number;
      number *= 10;
    }
  }

  /** Seconds of so many calls; never 0, as a clock may say. */
  #time(number: number): number {
    const stmt = this.#stmt;
    this.#setup();
    const call = (): void => {
      const result = stmt();
      if (isPromise(result))
        refusePromise(
          result,
          "Timer: expected a synchronous function. Received: one that returns a promise.",
          "ERR_ASYNC_MODE",
        );
    };
    const begin = this.#clock();
    for (let i = 0; i < number; i++) scope(call);
    return Math.max(this.#clock() - begin, 1e-9);
  }
  #withThreads<T>(fn: () => T): T {
    const before = getNumThreads();
    setNumThreads(this.#task.numThreads);
    try {
      return fn();
    } finally {
      setNumThreads(before);
    }
  }
}

/** What a function is called, or what stands in it. */
function textOf(fn: () => unknown): string {
  if (fn.name !== "" && fn.name !== "stmt") return fn.name;
  const source = Function.prototype.toString.call(fn).replace(/\s+/g, " ");
  return source.replace(/^\(\) => /, "").slice(0, 80);
}
