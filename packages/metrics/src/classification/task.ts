/** What a metric of classes is about: its task, and the arguments that all of them share. */
import { ArgumentError, kinds, signature, type Call, type OptionNames } from "@nbit/torch";
import { METRIC_OPTIONS, type MetricOptions } from "../metric.js";

export type Task = "binary" | "multiclass" | "multilabel";
/**
 * How the numbers of classes become one: of all counts together (`"micro"`), their mean (`"macro"`), their mean weighted
 * by how often each occurs (`"weighted"`), or none (`"none"`, null): one number each.
 */
export type Average = "micro" | "macro" | "weighted" | "none" | null;
/** Over all of a batch, or for each sample of it over what lies in its further dimensions. */
export type MultidimAverage = "global" | "samplewise";

/** Everything that some metric of classes can be told; which of it a class takes its constructor says. */
export interface Setting extends MetricOptions {
  readonly task: Task;
  readonly numClasses: number | null;
  readonly numLabels: number | null;
  readonly threshold: number;
  readonly average: Average;
  readonly multidimAverage: MultidimAverage;
  readonly topK: number;
  readonly ignoreIndex: number | null;
}

export const KINDS = {
  task: kinds.oneOf("binary", "multiclass", "multilabel"),
  numClasses: kinds.whole("[2, ∞)"),
  numLabels: kinds.whole("[1, ∞)"),
  threshold: kinds.byDefault(0.5, kinds.real("[0, 1]")),
  average: (value: Average) =>
    kinds.byDefault(value, kinds.orNull(kinds.oneOf("micro", "macro", "weighted", "none")) as kinds.Kind<Average>),
  multidimAverage: kinds.byDefault("global", kinds.oneOf("global", "samplewise")),
  topK: kinds.byDefault(1, kinds.whole("[1, ∞)")),
  ignoreIndex: kinds.byDefault(null, kinds.orNull(kinds.whole())),
  validateArgs: kinds.byDefault(true, kinds.flag),
};

/** What an input that is to be left out is called, and whether arguments are looked at. */
export interface CommonArguments extends MetricOptions {
  /** Targets of this value are left out. Default null: none are. */
  readonly ignoreIndex?: number | null;
  /** Taken as PyTorch programs give it; shapes and kinds are always checked. Default true. */
  readonly validateArgs?: boolean;
}
export interface BinaryArguments extends CommonArguments {
  /** From which probability on a prediction counts as 1. Default 0.5. */
  readonly threshold?: number;
  /** Default `"global"`. */
  readonly multidimAverage?: MultidimAverage;
}
export interface MulticlassArguments extends CommonArguments {
  readonly numClasses: number;
  /** A target among so many of the greatest predictions counts as found. Default 1. */
  readonly topK?: number;
  /** Default `"macro"`. */
  readonly average?: Average;
  /** Default `"global"`. */
  readonly multidimAverage?: MultidimAverage;
}
export interface MultilabelArguments extends CommonArguments {
  readonly numLabels: number;
  /** From which probability on a prediction counts as 1. Default 0.5. */
  readonly threshold?: number;
  /** Default `"macro"`. */
  readonly average?: Average;
  /** Default `"global"`. */
  readonly multidimAverage?: MultidimAverage;
}
export interface TaskArguments extends CommonArguments {
  readonly task: Task;
  /** Default 0.5. */
  readonly threshold?: number;
  /** Of `"multiclass"`, which needs it. */
  readonly numClasses?: number | null;
  /** Of `"multilabel"`, which needs it. */
  readonly numLabels?: number | null;
  /** Default `"micro"`. */
  readonly average?: Average;
  /** Default `"global"`. */
  readonly multidimAverage?: MultidimAverage;
  /** Default 1. */
  readonly topK?: number;
}

/** Argument lists, with what a metric takes beyond these, by name. */
export type BinaryCall<E extends object = object> = Call<
  BinaryArguments & E,
  ["threshold", "multidimAverage", "ignoreIndex"],
  [threshold?: number, multidimAverage?: MultidimAverage, ignoreIndex?: number | null]
>;
export type MulticlassCall<E extends object = object> = Call<
  MulticlassArguments & E,
  ["numClasses", "topK", "average", "multidimAverage", "ignoreIndex"],
  [numClasses: number, topK?: number, average?: Average, multidimAverage?: MultidimAverage, ignoreIndex?: number | null]
>;
export type MultilabelCall<E extends object = object> = Call<
  MultilabelArguments & E,
  ["numLabels", "threshold", "average", "multidimAverage", "ignoreIndex"],
  [
    numLabels: number,
    threshold?: number,
    average?: Average,
    multidimAverage?: MultidimAverage,
    ignoreIndex?: number | null,
  ]
>;
export type TaskCall<E extends object = object> = Call<
  TaskArguments & E,
  ["task", "threshold", "numClasses", "numLabels", "average"],
  [task: Task, threshold?: number, numClasses?: number | null, numLabels?: number | null, average?: Average]
>;

const { threshold, multidimAverage, ignoreIndex, validateArgs, topK, numClasses, numLabels, task } = KINDS;
const common = { ...METRIC_OPTIONS, validateArgs };
export const BINARY = { threshold, multidimAverage, ignoreIndex, ...common } satisfies OptionNames<BinaryArguments>;
export const MULTICLASS = {
  numClasses,
  topK,
  average: KINDS.average("macro"),
  multidimAverage,
  ignoreIndex,
  ...common,
} satisfies OptionNames<MulticlassArguments>;
export const MULTILABEL = {
  numLabels,
  threshold,
  average: KINDS.average("macro"),
  multidimAverage,
  ignoreIndex,
  ...common,
} satisfies OptionNames<MultilabelArguments>;
export const TASK = {
  task,
  threshold,
  numClasses: kinds.byDefault(null, kinds.orNull(numClasses)),
  numLabels: kinds.byDefault(null, kinds.orNull(numLabels)),
  average: KINDS.average("micro"),
  multidimAverage,
  topK,
  ignoreIndex,
  ...common,
} satisfies OptionNames<TaskArguments>;

export interface ZeroDivision {
  /** The score of a class of which there is nothing to divide by. Default 0. */
  readonly zeroDivision?: number;
}
export const ZERO_DIVISION = {
  zeroDivision: kinds.byDefault(0, kinds.real("[0, 1]")),
} satisfies OptionNames<ZeroDivision>;

type Rows = Readonly<Record<string, kinds.Kind<never>>>;
type Reader<E> = (name: string, given: readonly unknown[]) => Setting & E;

/** Readers of the arguments of a metric's four classes: `leading` stand by position in front, `extra` by name alone. */
export function readersOf<E extends object = object>(
  extra: OptionNames<E> | Rows = {},
  leading: Rows = {},
): {
  readonly binary: Reader<E>;
  readonly multiclass: Reader<E>;
  readonly multilabel: Reader<E>;
  readonly ofTask: Reader<E>;
} {
  const first = Object.keys(leading).length;
  const reader = (rows: Rows, positions: number, fixed: object, check?: typeof checkCounts): Reader<E> => {
    const read = signature("metric", rows, positions);
    return (name, given) => {
      const setting = { ...NONE, ...read(given, name), ...fixed } as Setting & E;
      check?.(name, setting);
      return setting;
    };
  };
  const { task: named, ...others } = TASK;
  return {
    binary: reader({ ...leading, ...BINARY, ...extra } as Rows, first + 3, { task: "binary" }),
    multiclass: reader({ ...leading, ...MULTICLASS, ...extra } as Rows, first + 5, { task: "multiclass" }),
    multilabel: reader({ ...leading, ...MULTILABEL, ...extra } as Rows, first + 5, { task: "multilabel" }),
    ofTask: reader({ task: named, ...leading, ...others, ...extra } as Rows, first + 5, {}, checkCounts),
  };
}
const NONE = {
  numClasses: null,
  numLabels: null,
  threshold: 0.5,
  topK: 1,
  average: "micro",
  multidimAverage: "global",
} as const;

/** Asks again for what a task needs, so that the error is that of a missing argument. */
export function checkCounts(
  name: string,
  { task, numClasses, numLabels }: { task: Task; numClasses: number | null; numLabels: number | null },
): void {
  const given = <T>(value: T | null): Record<string, unknown> => (value === null ? {} : { value });
  if (task === "multiclass") needed(name, "numClasses", KINDS.numClasses, given(numClasses));
  if (task === "multilabel") needed(name, "numLabels", KINDS.numLabels, given(numLabels));
}
function needed(name: string, argument: string, kind: kinds.Kind<number>, { value }: Record<string, unknown>): void {
  if (!kind.accepts(value)) throw new ArgumentError(name, `${argument} to be ${kind.words}`, value);
}
