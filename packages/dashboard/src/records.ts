/** What a run log tells: its records, and the run that they make up. */
import { kinds } from "@nbit/torch/options";

/** Metrics by name. */
export type Metrics = Readonly<Record<string, number>>;

export interface StepRecord {
  readonly step: number;
  readonly epoch: number;
  /** Since the run began. */
  readonly seconds: number;
  readonly metrics: Metrics;
  /** Of the optimizers' groups, in their order; none where the log does not say. */
  readonly learningRates?: readonly number[];
}

/** A checkpoint that was saved. */
export interface CheckpointRecord {
  readonly step: number;
  readonly epoch: number;
  readonly path: string;
}

/** What the process and its device used, sampled between steps. Bytes, but for `cpu`. */
export interface SystemRecord {
  readonly step: number;
  /** Since the run began. */
  readonly seconds: number;
  /** Cores that were busy since the sample before: 1 is one of them, all the time. */
  readonly cpu: number;
  /** Of the process. */
  readonly rss: number;
  /** JavaScript's. */
  readonly heap: number;
  readonly tensors: number;
  /** Free on the machine. */
  readonly free: number;
  /** On a GPU alone. */
  readonly deviceAllocated?: number;
  readonly devicePeak?: number;
  readonly deviceReserved?: number;
}

export interface ScaleRecord {
  readonly step: number;
  readonly value: number;
}

export interface SkipRecord {
  readonly step: number;
  /** The scale that was too high. */
  readonly lossScale: number;
  /** Parameters whose gradients were not finite. */
  readonly nonFinite: readonly string[];
  /** With several processes: on which of them they came first, and in what, as a sentence. */
  readonly where?: string;
}

export interface EpochRecord {
  readonly epoch: number;
  readonly step: number;
  /** Time in training batches, without validation. */
  readonly trainingSeconds: number;
  readonly batches: number;
  readonly samples: number;
  readonly metrics: Metrics;
  readonly memory: MemoryRecord;
}

/** Bytes; 0 where the log does not say. */
export interface MemoryRecord {
  /** The most that CPU tensors held since the run began. */
  readonly peakTensors: number;
  /** The most that the process has held, other runs before this one included. */
  readonly peakRss: number;
}

export interface EvaluationRecord {
  readonly stage: "validate" | "test";
  readonly step: number;
  readonly epoch: number;
  readonly evaluationSeconds: number;
  readonly metrics: Metrics;
}

export interface RunEnd {
  readonly status: string;
  readonly step: number;
  readonly seconds: number;
  readonly skippedSteps: number;
  readonly memory: MemoryRecord;
}

/** One training run, as its log tells it: one fit, and what was evaluated after it. */
export interface Run {
  readonly name: string;
  /** Canonical, such as "16-mixed". */
  readonly precision: string;
  readonly model: string;
  readonly parameters: number;
  readonly device: string;
  /** ISO 8601. */
  readonly startedAt: string;
  /** Bytes that tensors held before the run, the model aside: data sets, other models. */
  readonly tensorsBefore: number;
  /** What `saveHyperparameters` recorded of the module, as JSON has it. */
  readonly hyperparameters?: Readonly<Record<string, unknown>>;
  /** The file that it was read from. */
  readonly source?: string;
  readonly checkpoints?: readonly CheckpointRecord[];
  readonly system?: readonly SystemRecord[];
  readonly steps: readonly StepRecord[];
  readonly scales: readonly ScaleRecord[];
  readonly skips: readonly SkipRecord[];
  readonly epochs: readonly EpochRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  /** Null while the run goes on, or when the process was killed. */
  readonly end: RunEnd | null;
}

const { having, listOf, orNull, such } = kinds;
const NUMBER = such<number>("a number", (v) => typeof v === "number");
const MEMORY = having<MemoryRecord>("memory", { peakTensors: NUMBER });
const METRICS = such<Metrics>(
  "numbers by name",
  (v) => kinds.record.accepts(v) && Object.values(v as object).every(NUMBER.accepts),
);
/** @internal By the fields that tables, curves and figures read. */
export const RUN = having<Run>("a run as readRunLog returns it", {
  name: kinds.text,
  precision: kinds.text,
  model: kinds.text,
  parameters: NUMBER,
  device: kinds.text,
  startedAt: kinds.text,
  tensorsBefore: NUMBER,
  steps: listOf(having<StepRecord>("a step", { step: NUMBER, epoch: NUMBER, metrics: METRICS })),
  scales: listOf(having<ScaleRecord>("a scale", { step: NUMBER, value: NUMBER })),
  skips: listOf(
    having<SkipRecord>("a skipped step", { step: NUMBER, lossScale: NUMBER, nonFinite: listOf(kinds.text) }),
  ),
  epochs: listOf(
    having<EpochRecord>("an epoch", {
      epoch: NUMBER,
      step: NUMBER,
      trainingSeconds: NUMBER,
      samples: NUMBER,
      metrics: METRICS,
      memory: MEMORY,
    }),
  ),
  evaluations: listOf(having<EvaluationRecord>("an evaluation", { step: NUMBER, epoch: NUMBER, metrics: METRICS })),
  end: orNull(having<RunEnd>("the end", { status: kinds.text, skippedSteps: NUMBER, memory: MEMORY })),
});
