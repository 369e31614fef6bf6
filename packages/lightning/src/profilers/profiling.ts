/** The profiler of a run, as its loops see it. */
import { isPromise } from "../promises.js";
import { BottleneckWatch, bottleneckOf } from "./bottleneck.js";
import { PassThroughProfiler, type Profiler, type ProfilerSetup } from "./profiler.js";

/** Steps that are the strategy's actions, and methods that are the module's. */
const STEPS: ReadonlySet<string> = new Set(["trainingStep", "validationStep", "testStep", "predictStep"]);
const METHODS: ReadonlySet<string> = new Set([
  "configureModel",
  "configureOptimizers",
  "configureGradientClipping",
  "optimizerStep",
]);

export interface ProfilingParts {
  readonly profiler: Profiler;
  /** Whether the module has a method of its own: what it has not is no action. */
  readonly overrides: (name: "configureModel") => boolean;
  /** Names of the classes of the module and the strategy. */
  readonly module: string;
  readonly strategy: string;
  readonly onGpu: boolean;
  /** Batches that were replayed so far. */
  readonly replayed: () => number;
}

/** Calls a profiler around the actions of a run, under their names. */
export class Profiling {
  readonly #parts: ProfilingParts;
  readonly #watch: BottleneckWatch;
  /** Replays would hide operators. */
  readonly observesOperators: boolean;

  /** Null where nothing is profiled, which costs a comparison. */
  static of(parts: ProfilingParts): Profiling | null {
    return parts.profiler instanceof PassThroughProfiler ? null : new Profiling(parts);
  }
  private constructor(parts: ProfilingParts) {
    this.#parts = parts;
    this.observesOperators = Reflect.get(parts.profiler, "observesOperators") === true;
    this.#watch = new BottleneckWatch(parts.onGpu, !this.observesOperators, parts.replayed);
  }

  setup(about: ProfilerSetup): void {
    this.#parts.profiler.setup(about);
  }
  /** The run has ended well: its report, then what it waited for. */
  describe(): void {
    const { profiler } = this.#parts;
    profiler.describe();
    const bottleneck = bottleneckOf(this.#watch.figures);
    if (bottleneck !== null) profiler.report(`Bottleneck: ${bottleneck.text}`);
  }
  /** However it has ended. */
  end(stage: ProfilerSetup["stage"]): void {
    this.#parts.profiler.teardown(stage);
  }

  ofModule(name: string): string {
    return `[LightningModule]${this.#parts.module}.${name}`;
  }
  ofStrategy(name: string): string {
    return `[Strategy]${this.#parts.strategy}.${name}`;
  }

  run<T>(action: string, fn: () => T): T {
    return this.#parts.profiler.profile(action, fn);
  }
  /** What is called under a name of its own is an action where that is one of a step or a method. */
  within<T>(name: string, fn: () => T): T {
    if (STEPS.has(name)) return this.run(this.ofStrategy(name), fn);
    if (name === "configureModel" && !this.#parts.overrides(name)) return fn();
    return METHODS.has(name) ? this.run(this.ofModule(name), fn) : fn();
  }
  /** A batch of a loader: `train`, `val`, `test` or `predict`. */
  next<T>(loop: string, stage: string, fn: () => T): T {
    const began = performance.now();
    const done = (): void => {
      if (stage === "train") this.#watch.waited((performance.now() - began) / 1e3);
    };
    const result = this.run(`[${loop}].${stage}_${stage === "train" ? "dataloader_" : ""}next`, fn);
    if (isPromise(result)) return Promise.resolve(result).finally(done) as T;
    done();
    return result;
  }
  trainBatch<T>(fn: () => T): T {
    this.#watch.batchStarts();
    const result = this.run("run_training_batch", fn);
    if (isPromise(result)) return Promise.resolve(result).finally(() => this.#watch.batchEnds()) as T;
    this.#watch.batchEnds();
    return result;
  }
}
