/** States of callbacks as Lightning's checkpoints have them, and ours: by the callbacks' keys, which are theirs and ours. */
import { isTensor, tensor, type Tensor } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { inCamelCase, inSnakeCase } from "./lightning-names.js";

type State = Readonly<Record<string, unknown>>;
type States = Readonly<Record<string, State>>;

/** What differs in one class of callbacks. */
interface Translation {
  /** Our key in theirs; undefined: it is no key of this class. */
  readonly keyToTheirs: (key: string, state: State) => string | undefined;
  /** Their key in ours: several, where theirs says less. Empty: it is no key of this class. */
  readonly keysToOurs: (key: string, state: State) => readonly string[];
  readonly toTheirs: (state: State, key: string) => State;
  readonly toOurs: (state: State) => State;
}

/** Of a class with one key. */
function named(
  name: string,
  { toTheirs, toOurs }: { toTheirs: Translation["toTheirs"]; toOurs: Translation["toOurs"] },
): Translation {
  return {
    keyToTheirs: (key) => (key === name ? name : undefined),
    keysToOurs: (key) => (key === name ? [name] : []),
    toTheirs,
    toOurs,
  };
}

const MODEL_CHECKPOINT = /^ModelCheckpoint\((.*), (min|max), steps (\d+), epochs (\d+), seconds (\S+), \w+\)$/s;
const modelCheckpoint: Translation = {
  keyToTheirs(key, { monitor }) {
    const [, , mode, steps, epochs, seconds] = MODEL_CHECKPOINT.exec(key) ?? [];
    if (mode === undefined) return undefined;
    const interval = seconds === "null" ? "None" : timedelta(Number(seconds));
    return `ModelCheckpoint{'monitor': ${repr(monitor)}, 'mode': '${mode}', 'every_n_train_steps': ${steps}, 'every_n_epochs': ${epochs}, 'train_time_interval': ${interval}}`;
  },
  keysToOurs(key) {
    const found =
      /^ModelCheckpoint\{'monitor': (None|'.*'|".*"), 'mode': '(min|max)', 'every_n_train_steps': (\d+), 'every_n_epochs': (\d+), 'train_time_interval': (.*)\}$/s.exec(
        key,
      );
    const [, monitor, mode, steps, epochs, interval] = found ?? [];
    if (monitor === undefined || interval === undefined) return [];
    const seconds = interval === "None" ? "null" : secondsOf(interval);
    // Theirs does not say when the end of an epoch is.
    return ["auto", "true", "false"].map(
      (when) =>
        `ModelCheckpoint(${unquoted(monitor)}, ${mode}, steps ${steps}, epochs ${epochs}, seconds ${seconds}, ${when})`,
    );
  },
  toTheirs({ monitor, bestModelPath, bestModelScore, dirpath, bestKModels, lastModelPath }, key) {
    const mode = MODEL_CHECKPOINT.exec(key)?.[2];
    const scores = Object.entries(isPlainObject(bestKModels) ? bestKModels : {}) as readonly (readonly [
      string,
      number,
    ])[];
    const worst = scores.toSorted(([, a], [, b]) => (mode === "max" ? a - b : b - a))[0];
    return {
      monitor,
      best_model_score: scalar(bestModelScore),
      best_model_path: bestModelPath,
      current_score: null,
      dirpath,
      best_k_models: Object.fromEntries(scores.map(([path, score]) => [path, scalar(score)])),
      kth_best_model_path: worst?.[0] ?? "",
      kth_value: scalar(worst?.[1] ?? (mode === "max" ? -Infinity : Infinity)),
      last_model_path: lastModelPath,
    };
  },
  toOurs: (state) => ({
    monitor: state["monitor"],
    dirpath: state["dirpath"],
    bestModelPath: state["best_model_path"],
    bestModelScore: numberOf(state["best_model_score"]),
    lastModelPath: state["last_model_path"],
    bestKModels: numbersOf(state["best_k_models"]),
    keepsAnyFile: true,
  }),
};

const REASONS = ["not_stopped", "threshold", "diverged", "patience", "non_finite"];
const earlyStopping: Translation = {
  keyToTheirs(key) {
    const [, monitor, mode] = /^EarlyStopping\((.*), (min|max)\)$/s.exec(key) ?? [];
    return mode === undefined ? undefined : `EarlyStopping{'monitor': ${repr(monitor)}, 'mode': '${mode}'}`;
  },
  keysToOurs(key) {
    const [, monitor, mode] = /^EarlyStopping\{'monitor': ('.*'|".*"), 'mode': '(min|max)'\}$/s.exec(key) ?? [];
    return monitor === undefined ? [] : [`EarlyStopping(${unquoted(monitor)}, ${mode})`];
  },
  toTheirs: ({ waitCount, stoppedEpoch, bestScore, patience, stoppingReason }) => ({
    wait_count: waitCount,
    stopped_epoch: stoppedEpoch,
    best_score: scalar(bestScore),
    patience,
    stopping_reason: Math.max(0, REASONS.indexOf(String(stoppingReason))),
    stopping_reason_message: null,
  }),
  toOurs: (state) => ({
    waitCount: state["wait_count"],
    stoppedEpoch: state["stopped_epoch"],
    bestScore: numberOf(state["best_score"]) ?? undefined,
    patience: state["patience"],
    stoppingReason: REASONS[Number(state["stopping_reason"] ?? 0)],
  }),
};

const timer = named("Timer", {
  toTheirs: ({ seconds }) => ({ time_elapsed: { train: seconds } }),
  toOurs({ time_elapsed: elapsed }) {
    const seconds: unknown = isPlainObject(elapsed) ? elapsed["train"] : undefined;
    return typeof seconds === "number" ? { seconds } : {};
  },
});

const stochasticWeightAveraging = named("StochasticWeightAveraging", {
  toTheirs: inSnakeCase,
  toOurs: (state) => ({ ...inCamelCase(state), averageModelState: plain(state["average_model_state"]) }),
});

/** By what they keep, since classes of finetuning are the user's. Groups of each optimizer: a dict by number there. */
const finetuning: Translation = {
  keyToTheirs: (key, state) => ("internalOptimizerMetadata" in state ? key : undefined),
  keysToOurs: (key, state) => ("internal_optimizer_metadata" in state ? [key] : []),
  toTheirs({ internalOptimizerMetadata: ours, ...rest }) {
    const optimizers = isPlainObject(ours) && Array.isArray(ours["groups"]) ? (ours["groups"] as unknown[]) : [];
    const groups = optimizers.map((each) =>
      (each as readonly { params: readonly string[]; options: State }[]).map(({ params, options }) => ({
        ...inSnakeCase(options),
        params,
      })),
    );
    return { ...inSnakeCase(rest), internal_optimizer_metadata: Object.fromEntries(groups.entries()) };
  },
  toOurs({ internal_optimizer_metadata: theirs, ...rest }) {
    const groups = Object.values(isPlainObject(theirs) ? theirs : {}).map((each) =>
      (Array.isArray(each) ? each : []).map((group: unknown) => {
        const { params, ...options } = isPlainObject(group) ? group : {};
        return { params: Array.isArray(params) ? params.map(String) : [], options: inCamelCase(options) };
      }),
    );
    const trained = Object.fromEntries(groups.flat().flatMap(({ params }) => params.map((param) => [param, true])));
    return { ...inCamelCase(rest), internalOptimizerMetadata: { groups, trained, tracked: {} } };
  },
};

const TRANSLATIONS: readonly Translation[] = [
  modelCheckpoint,
  earlyStopping,
  timer,
  stochasticWeightAveraging,
  finetuning,
];

/** Callbacks that Lightning has not, or whose state is another there. */
const OURS_ONLY =
  /^(RunLog|OnExceptionCheckpoint|LearningRateFinder|BatchSizeFinder|SpikeDetection|ModelPruning)(\(|$)/;
const THEIRS_ONLY = /^SpikeDetection$/;

/** Of a class of somebody's own: names in the other case, values as they are. */
export function callbacksToTheirs(callbacks: States): Record<string, State> {
  const theirs: Record<string, State> = {};
  for (const [key, state] of Object.entries(callbacks)) {
    if (OURS_ONLY.test(key)) continue;
    const found = firstOf((each) => {
      const name = each.keyToTheirs(key, state);
      return name === undefined ? undefined : ([name, each.toTheirs(state, key)] as const);
    });
    const [name, translated] = found ?? [key, inSnakeCase(state)];
    theirs[name] = translated;
  }
  return theirs;
}

export function callbacksToOurs(callbacks: unknown): Record<string, Record<string, unknown>> {
  const ours: Record<string, Record<string, unknown>> = {};
  if (!isPlainObject(callbacks)) return ours;
  for (const [qualified, state] of Object.entries(callbacks)) {
    if (!isPlainObject(state)) continue;
    const key = withoutScopes(qualified);
    if (THEIRS_ONLY.test(key)) continue;
    const found = firstOf((each) => {
      const keys = each.keysToOurs(key, state);
      return keys.length === 0 ? undefined : ([keys, each.toOurs(state)] as const);
    });
    const [keys, translated] = found ?? [[key], inCamelCase(state)];
    for (const name of keys) ours[name] = { ...translated };
  }
  return ours;
}

function firstOf<T>(find: (translation: Translation) => T | undefined): T | undefined {
  for (const each of TRANSLATIONS) {
    const found = find(each);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A class that stands in a function or in another class: `main.<locals>.Counter`. */
function withoutScopes(key: string): string {
  return key.replace(/^[\w.<>]*\.(?=\w+(\{|$))/, "");
}

function scalar(value: unknown): Tensor | null {
  return typeof value === "number" ? tensor(value) : null;
}
function numberOf(value: unknown): number | null {
  if (isTensor(value) && value.numel() === 1) return value.item();
  return typeof value === "number" ? value : null;
}
function numbersOf(value: unknown): Record<string, number> {
  return Object.fromEntries(
    Object.entries(plain(value) ?? {}).flatMap(([name, each]) => {
      const number = numberOf(each);
      return number === null ? [] : [[name, number]];
    }),
  );
}
function plain(value: unknown): Record<string, unknown> | null {
  if (value instanceof Map) return Object.fromEntries(value) as Record<string, unknown>;
  return isPlainObject(value) ? value : null;
}

/** As Python shows a text or None. */
function repr(value: unknown): string {
  if (typeof value !== "string") return "None";
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  return quote + value.replaceAll("\\", "\\\\").replaceAll(quote, `\\${quote}`) + quote;
}
function unquoted(shown: string): string {
  return shown === "None" ? "null" : shown.slice(1, -1).replaceAll(/\\(.)/g, "$1");
}

const DAY = 24 * 3600;
function timedelta(seconds: number): string {
  const [days, rest] = [Math.floor(seconds / DAY), seconds % DAY];
  const parts = [
    ...(days === 0 ? [] : [`days=${days}`]),
    ...(Math.floor(rest) === 0 ? [] : [`seconds=${Math.floor(rest)}`]),
    ...(rest % 1 === 0 ? [] : [`microseconds=${Math.round((rest % 1) * 1e6)}`]),
  ];
  return `datetime.timedelta(${parts.length === 0 ? "0" : parts.join(", ")})`;
}
function secondsOf(shown: string): number {
  const part = (name: string): number => Number(new RegExp(`\\b${name}=(\\d+)`).exec(shown)?.[1] ?? 0);
  return part("days") * DAY + part("seconds") + part("microseconds") / 1e6;
}
