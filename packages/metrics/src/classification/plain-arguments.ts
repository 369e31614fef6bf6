/** Arguments of metrics that are no counts: matrices and curves. */
import { kinds, signature, type Call, type OptionNames } from "@nbit/torch";
import { METRIC_OPTIONS } from "../metric.js";
import { checkCounts, KINDS, type CommonArguments, type Setting, type Task } from "./task.js";

export interface BinaryPlain extends CommonArguments {
  /** From which probability on a prediction counts as 1, where predictions become labels. Default 0.5. */
  readonly threshold?: number;
}
export interface MulticlassPlain extends CommonArguments {
  readonly numClasses: number;
}
export interface MultilabelPlain extends BinaryPlain {
  readonly numLabels: number;
}
export interface TaskPlain extends BinaryPlain {
  readonly task: Task;
  /** Of `"multiclass"`, which needs it. */
  readonly numClasses?: number | null;
  /** Of `"multilabel"`, which needs it. */
  readonly numLabels?: number | null;
}

/** Argument lists: what is not here stands by name. */
export type BinaryPlainCall<E extends object = object> = Call<BinaryPlain & E, ["threshold"], [threshold?: number]>;
export type MulticlassPlainCall<E extends object = object> = Call<
  MulticlassPlain & E,
  ["numClasses"],
  [numClasses: number]
>;
export type MultilabelPlainCall<E extends object = object> = Call<
  MultilabelPlain & E,
  ["numLabels", "threshold"],
  [numLabels: number, threshold?: number]
>;
export type TaskPlainCall<E extends object = object> = Call<
  TaskPlain & E,
  ["task", "threshold", "numClasses", "numLabels"],
  [task: Task, threshold?: number, numClasses?: number | null, numLabels?: number | null]
>;

const { task, threshold, numClasses, numLabels, ignoreIndex, validateArgs } = KINDS;
const COMMON = { ignoreIndex, validateArgs, ...METRIC_OPTIONS };
const BINARY = { threshold, ...COMMON } satisfies OptionNames<BinaryPlain>;
const MULTICLASS = { numClasses, ...COMMON } satisfies OptionNames<MulticlassPlain>;
const MULTILABEL = { numLabels, threshold, ...COMMON } satisfies OptionNames<MultilabelPlain>;
const TASK = {
  task,
  threshold,
  numClasses: kinds.byDefault(null, kinds.orNull(numClasses)),
  numLabels: kinds.byDefault(null, kinds.orNull(numLabels)),
  ...COMMON,
} satisfies OptionNames<TaskPlain>;

const NONE = {
  numClasses: null,
  numLabels: null,
  threshold: 0.5,
  topK: 1,
  average: null,
  multidimAverage: "global",
} as const;

type Reader<E> = (name: string, given: readonly unknown[]) => Setting & E;
type Rows = Readonly<Record<string, kinds.Kind<never>>>;

/** Readers of the four classes of such a metric, with what it takes beyond the others, by name. */
export function plainReaders<E extends object = object>(
  extra: OptionNames<E>,
): {
  readonly binary: Reader<E>;
  readonly multiclass: Reader<E>;
  readonly multilabel: Reader<E>;
  readonly ofTask: Reader<E>;
} {
  const reader = (rows: Rows, positions: number, fixed: object, check?: typeof checkCounts): Reader<E> => {
    const read = signature("metric", { ...rows, ...extra } as Rows, positions);
    return (name, given) => {
      const setting = { ...NONE, ...read(given, name), ...fixed } as Setting & E;
      check?.(name, setting);
      return setting;
    };
  };
  return {
    binary: reader(BINARY as Rows, 1, { task: "binary" }),
    multiclass: reader(MULTICLASS as Rows, 1, { task: "multiclass" }),
    multilabel: reader(MULTILABEL as Rows, 2, { task: "multilabel" }),
    ofTask: reader(TASK as Rows, 4, {}, checkCounts),
  };
}
