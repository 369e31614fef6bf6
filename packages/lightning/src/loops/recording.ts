import { cuda, outsideScopes, program, scope, Tensor } from "@nbit/torch";
import type { LogSink } from "../logging/log-sink.js";
import type { Precision } from "../precision/precision.js";
import type { StepResult } from "../types.js";
import { Outcome } from "./outcome.js";
import { ReplayedOutcome } from "./replayed-outcome.js";
import type { TrainStep } from "./train-step.js";
import { steps } from "./window-role.js";
import type { WindowRole } from "./window-role.js";

/** What records: a CUDA graph. */
export interface StepGraph {
  warmUp<T>(fn: () => T): T;
  capture<T>(fn: () => T): T;
  replay(): void;
  dispose(): void;
}
export interface GraphMaker {
  /** `pool`: a graph whose memory the new one shares. */
  make(pool: StepGraph | null): StepGraph;
  /** Give back memory that lies idle. */
  emptyCache(): void;
}
export const CUDA_GRAPHS: GraphMaker = {
  make: (pool) => new cuda.CudaGraph(pool instanceof cuda.CudaGraph ? { pool } : {}),
  emptyCache: () => cuda.emptyCache(),
};

/** Where a recorded step logs. */
export interface RecordingHost {
  readonly log: LogSink;
  within<T>(hook: string, fn: () => T): T;
  logTo<T>(sink: LogSink, fn: () => T): T;
}
type LogCall = Parameters<LogSink>;

/** One batch of training in one role, recorded: its graph, and what it logs and returns. */
export class Recording {
  readonly role: WindowRole;
  /** What the batch does, as operators. */
  readonly transcript: program.Transcript;
  readonly #graph: StepGraph;
  /** Other recordings write to the memory in which this one's results lie. */
  readonly #shared: boolean;
  readonly #logs: LogCall[] = [];
  #result: StepResult = {};
  /** What outcomes read when asked: the norm of the gradients, and the scale of the loss. In memory of their own. */
  #norm: Tensor | number | undefined;
  #scale: Tensor | null = null;

  /** `inputs`: the batch's tensors. */
  constructor(role: WindowRole, graph: StepGraph, shared: boolean, inputs: readonly Tensor[]) {
    this.role = role;
    this.transcript = new program.Transcript({
      inputs: Object.fromEntries(inputs.map((t, i) => [`batch${inputs.length > 1 ? i : ""}`, t])),
    });
    this.#graph = graph;
    this.#shared = shared;
  }

  /** Record `run`, which runs `step`. @throws the error of whatever could not be recorded. */
  capture(step: TrainStep, host: RecordingHost, run: () => StepResult): void {
    const sink: LogSink = (name, value, options) => {
      this.#logs.push([name, value instanceof Tensor ? outsideScopes(() => value.detach()) : value, options]);
    };
    this.#result = host.logTo(sink, () =>
      scope(() => outsideScopesOf(this.#graph.capture(() => this.transcript.run(run)))),
    );
    if (!(step.outcome instanceof Outcome)) return;
    ({ norm: this.#norm, scale: this.#scale } = step.outcome.lend());
  }

  /**
   * Launch it and log again what it logged. Returns what the step returned.
   *
   * Graphs that share memory overwrite each other's results, if at all, at the next batch. What is read later than that
   * is copied to memory of its own: the loss. What is logged is copied when it is logged. Other tensors that a step
   * returns are good until the next batch.
   */
  replay(host: RecordingHost): StepResult {
    this.#graph.replay();
    host.within("trainingStep", () => {
      for (const call of this.#logs) host.log(...call);
    });
    if (!this.#shared) return this.#result;
    const { loss } = this.#result;
    return loss instanceof Tensor ? { ...this.#result, loss: loss.clone() } : this.#result;
  }

  /**
   * What the latest replay did. Whether it skipped is read of the scaler's own tensors, which no graph's memory holds.
   */
  outcome(precision: Precision): ReplayedOutcome {
    return new ReplayedOutcome(() => {
      const skipped = steps(this.role) && precision.lastStepSkipped;
      const gradNorm = this.#norm instanceof Tensor ? this.#norm.item() : this.#norm;
      return {
        stepped: steps(this.role) && !skipped,
        skipped,
        lossScale: this.#scale?.item() ?? precision.lossScale ?? 1,
        ...(gradNorm === undefined ? {} : { gradNorm }),
      };
    });
  }

  dispose(): void {
    for (const [, value] of this.#logs) if (value instanceof Tensor) value.dispose();
    for (const value of Object.values(this.#result)) if (value instanceof Tensor) value.dispose();
    for (const t of [this.#norm, this.#scale]) if (t instanceof Tensor) t.dispose();
    this.#graph.dispose();
  }
}

/** What the graph wrote must outlive the scope of the step that recorded it. */
function outsideScopesOf(result: StepResult): StepResult {
  return outsideScopes(() => {
    const kept: StepResult = {};
    for (const [name, value] of Object.entries(result)) kept[name] = value instanceof Tensor ? value.detach() : value;
    return kept;
  });
}
