/** The values that built a module: kept in checkpoints, and given to its constructor again. */
import { checkArguments, checkOptions, kinds, type OptionNames } from "@nbit/torch";

export type Hyperparameters = Readonly<Record<string, unknown>>;

export interface HyperparameterOptions {
  /** Names that are left out. */
  readonly ignore?: readonly string[];
}
const HYPERPARAMETERS: OptionNames<HyperparameterOptions> = { ignore: kinds.listOf(kinds.text) };
const VALUES = kinds.such<object>(
  "an object of values by name",
  (v) => typeof v === "object" && v !== null && !Array.isArray(v),
);

/** Those that were recorded before, and those of `params`, which win. */
export function withRecorded(before: Hyperparameters, params: object, options: HyperparameterOptions): Hyperparameters {
  checkArguments("saveHyperparameters", { params }, { params: VALUES });
  checkOptions("saveHyperparameters", options, HYPERPARAMETERS);
  const kept = Object.entries(params).filter(([name]) => !options.ignore?.includes(name));
  return Object.freeze({ ...before, ...Object.fromEntries(kept) });
}

let building = false;

/** A module that `build` makes may be given hyperparameters that its class has no use for. */
export function buildFromHyperparameters<T>(build: () => T): T {
  const before = building;
  building = true;
  try {
    return build();
  } finally {
    building = before;
  }
}
export function isBuiltFromHyperparameters(): boolean {
  return building;
}
