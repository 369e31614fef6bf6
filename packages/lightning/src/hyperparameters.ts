/** The values that built a module or a data module: kept in checkpoints, and given to its constructor again. */
import { checkArguments, checkOptions, kinds, type OptionNames } from "@nbit/torch";

export type Hyperparameters = Readonly<Record<string, unknown>>;

export interface HyperparameterOptions {
  /** Names that are left out. */
  readonly ignore?: string | readonly string[];
  /** Give them to the loggers when a fit begins. Default true. */
  readonly logger?: boolean;
}
const HYPERPARAMETERS: OptionNames<HyperparameterOptions> = {
  ignore: kinds.either(kinds.text, kinds.listOf(kinds.text)),
  logger: kinds.flag,
};
const VALUES = kinds.such<object>(
  "an object of values by name",
  (v) => typeof v === "object" && v !== null && !Array.isArray(v),
);
const NONE: Hyperparameters = Object.freeze({});

/** What `saveHyperparameters` has recorded of one object. */
export class RecordedHyperparameters {
  #values = NONE;
  #initial = NONE;
  /** Whether loggers are to have them. */
  logged = false;

  /** Frozen. */
  get values(): Hyperparameters {
    return this.#values;
  }
  /** As they were recorded last, whatever was removed since. */
  get initial(): Hyperparameters {
    return this.#initial;
  }

  /** Beside those that were recorded before; new ones win. */
  save(params: object, options: HyperparameterOptions): void {
    checkArguments("saveHyperparameters", { params }, { params: VALUES });
    checkOptions("saveHyperparameters", options, HYPERPARAMETERS);
    const ignored = typeof options.ignore === "string" ? [options.ignore] : options.ignore;
    const kept = Object.entries(params).filter(([name]) => ignored?.includes(name) !== true);
    this.#values = Object.freeze({ ...this.#values, ...Object.fromEntries(kept) });
    this.#initial = this.#values;
    this.logged = options.logger ?? true;
  }

  remove(ignoreList: readonly string[]): void {
    checkArguments("removeIgnoredHparams", { ignoreList }, { ignoreList: kinds.listOf(kinds.text) });
    const kept = Object.entries(this.#values).filter(([name]) => !ignoreList.includes(name));
    this.#values = Object.freeze(Object.fromEntries(kept));
  }

  copyFrom(other: RecordedHyperparameters): void {
    this.#values = other.#values;
    this.#initial = other.#initial;
    this.logged = other.logged;
  }
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
