/** Opt levels: frozen tables of properties, and what may be overridden. */
import { ArgumentError, atMost, checkOptions, type DType, type OptionNames } from "@nbit/torch";

export type OptLevel = "O0" | "O1" | "O2" | "O3";
export type LossScale = number | "dynamic";

export interface OptProperties {
  /** Dtype that the model's parameters and buffers are cast to; null: they stay. */
  readonly castModelType: DType | null;
  /** Operators choose their dtype by O1's lists. */
  readonly patchTorchFunctions: boolean;
  /** Affine BatchNorm stays in float32 inside a cast model; null: does not apply. */
  readonly keepBatchnormFp32: boolean | null;
  /** The optimizer steps float32 copies of float16 parameters; null: does not apply. */
  readonly masterWeights: boolean | null;
  readonly lossScale: LossScale;
}
export interface OptLevelTable extends OptProperties {
  readonly brief: string;
}

/** What each level means. */
export const OPT_LEVELS: Readonly<Record<OptLevel, OptLevelTable>> = Object.freeze({
  O0: Object.freeze({
    brief: "Pure FP32 training: the baseline to compare with.",
    castModelType: "float32",
    patchTorchFunctions: false,
    keepBatchnormFp32: null,
    masterWeights: false,
    lossScale: 1,
  }),
  O1: Object.freeze({
    brief: "Casts around operators: matrix products in FP16, sensitive ones in FP32. The safe way to mixed precision.",
    castModelType: null,
    patchTorchFunctions: true,
    keepBatchnormFp32: null,
    masterWeights: null,
    lossScale: "dynamic",
  }),
  O2: Object.freeze({
    brief: "FP16 model with FP32 BatchNorm and FP32 master weights: almost everything in FP16.",
    castModelType: "float16",
    patchTorchFunctions: false,
    keepBatchnormFp32: true,
    masterWeights: true,
    lossScale: "dynamic",
  }),
  O3: Object.freeze({
    brief: "Pure FP16: as fast as it gets, and often too coarse to learn.",
    castModelType: "float16",
    patchTorchFunctions: false,
    keepBatchnormFp32: false,
    masterWeights: false,
    lossScale: 1,
  }),
});

/** What a model may be cast to. bfloat16 is ours: APEX knows float16 alone. */
const MODEL_TYPES: readonly DType[] = ["float16", "bfloat16", "float32"];

export interface OptOverrides {
  readonly castModelType?: DType | null;
  readonly patchTorchFunctions?: boolean;
  readonly keepBatchnormFp32?: boolean | "True" | "False" | null;
  readonly masterWeights?: boolean | null;
  /** A number, a numeric string, or "dynamic". */
  readonly lossScale?: number | string;
}

const OVERRIDES: OptionNames<OptOverrides> = {
  castModelType: true,
  patchTorchFunctions: true,
  keepBatchnormFp32: true,
  masterWeights: true,
  lossScale: true,
};

/**
 * A level with its overrides.
 * @throws {ArgumentError} for an unknown level, and for overrides that contradict it.
 */
export function resolveOptLevel(optLevel: string, overrides: OptOverrides = {}): OptProperties {
  atMost("resolveOptLevel", arguments, 2);
  checkOptions("resolveOptLevel", overrides, OVERRIDES);
  return levelWith(optLevel, overrides);
}

/** @internal The same of options that hold more than overrides. */
export function levelWith(optLevel: string, overrides: OptOverrides): OptProperties {
  if (typeof optLevel !== "string")
    throw new ArgumentError("apex.initialize", `optLevel to be one of ${Object.keys(OPT_LEVELS).join(", ")}`, optLevel);
  const table = Object.hasOwn(OPT_LEVELS, optLevel) ? OPT_LEVELS[optLevel as OptLevel] : undefined;
  if (table === undefined)
    throw new ArgumentError(
      "apex.initialize",
      `optLevel to be one of ${Object.keys(OPT_LEVELS).join(", ")}`,
      optLevel,
      "The letter O, not a zero.",
    );
  const wrong: Wrong = (expected, received, fix = "") => {
    throw new ArgumentError("apex.initialize", expected, received, fix);
  };
  for (const name of ["patchTorchFunctions", "masterWeights"] as const)
    if (![true, false, null, undefined].includes(overrides[name])) wrong(`${name} to be a boolean`, overrides[name]);
  return Object.freeze({
    castModelType: castModelType(optLevel, table.castModelType, overrides.castModelType, wrong),
    patchTorchFunctions: patchTorchFunctions(optLevel, table.patchTorchFunctions, overrides.patchTorchFunctions, wrong),
    keepBatchnormFp32: keepBatchnormFp32(optLevel, table.keepBatchnormFp32, overrides.keepBatchnormFp32, wrong),
    masterWeights: masterWeights(optLevel, table.masterWeights, overrides.masterWeights, wrong),
    lossScale: overrides.lossScale === undefined ? table.lossScale : parseLossScale(overrides.lossScale),
  });
}

type Wrong = (expected: string, received: unknown, fix?: string) => never;
/** What an option is, from a level's own value and what was given in its place. */
type Override<K extends keyof OptProperties & keyof OptOverrides> = (
  optLevel: string,
  own: OptProperties[K],
  given: OptOverrides[K],
  wrong: Wrong,
) => OptProperties[K];

const castModelType: Override<"castModelType"> = (optLevel, own, given, wrong) => {
  if (given === undefined || given === null) return own;
  if (!MODEL_TYPES.includes(given)) wrong(`castModelType to be one of ${MODEL_TYPES.join(", ")}`, given);
  if (optLevel !== "O1") return given;
  return given === "float32"
    ? own
    : wrong(
        "no castModelType with O1",
        given,
        "O1 casts around operators and leaves the weights in float32; O2 and O3 cast the model.",
      );
};

const patchTorchFunctions: Override<"patchTorchFunctions"> = (optLevel, own, given, wrong) => {
  if (given === undefined || given === own) return own;
  return given ? wrong("patchTorchFunctions: true only with O1", optLevel, 'Choose optLevel: "O1".') : false;
};

const keepBatchnormFp32: Override<"keepBatchnormFp32"> = (optLevel, own, given, wrong) => {
  if (given === undefined || given === null) return own;
  if (optLevel === "O1")
    wrong("no keepBatchnormFp32 with O1", given, "O1 runs batch normalisation in float32 by itself.");
  if (![true, false, "True", "False"].includes(given))
    wrong('keepBatchnormFp32 to be a boolean, "True" or "False"', given);
  return given === true || given === "True";
};

const masterWeights: Override<"masterWeights"> = (optLevel, own, given, wrong) => {
  if (given === undefined || given === null) return own;
  return optLevel === "O1" ? wrong("no masterWeights with O1", given, "The weights are float32 already.") : given;
};

function parseLossScale(value: number | string): LossScale {
  if (value === "dynamic") return value;
  const n = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof n !== "number" || !Number.isFinite(n) || n <= 0)
    throw new ArgumentError(
      "apex.initialize",
      'lossScale to be a number > 0, such a number as a string, or "dynamic"',
      value,
    );
  return n;
}
