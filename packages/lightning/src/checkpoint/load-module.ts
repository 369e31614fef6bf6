/** A module from a checkpoint: built from the hyperparameters in it, and given its weights. */
import { withFloat8Histories } from "@nbit/lowbit";
import {
  checkArguments,
  checkOptions,
  deviceKind,
  dtypeKind,
  kinds,
  NbitError,
  plainText,
  type DeviceLike,
  type DType,
  type nn,
  type OptionNames,
} from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { buildFromHyperparameters } from "../hyperparameters.js";
import { AT_ONCE, mustEnd } from "../promises.js";
import { warn } from "../warnings.js";
import { readCheckpoint } from "./file.js";
import type { Checkpoint } from "./format.js";
import { readLightningFile } from "./lightning-file.js";

/** What Lightning's `load_from_checkpoint` takes beside hyperparameters. */
export interface LightningLoadArguments {
  /** Where module and weights shall be. Default: the CPU, wherever they were. */
  readonly mapLocation?: DeviceLike | null;
  /** False: missing or unexpected keys are a warning. Default: as the module's `strictLoading` has it. */
  readonly strict?: boolean | null;
  /** Nothing of a file is ever run, whatever this says: it is taken so that programs can keep it. */
  readonly weightsOnly?: boolean | null;
}
export interface LoadModuleOptions extends LightningLoadArguments {
  /** Of module and weights. Default: as they were saved. */
  readonly dtype?: DType;
}
const THEIRS: OptionNames<LightningLoadArguments> = {
  mapLocation: kinds.orNull(deviceKind),
  strict: kinds.orNull(kinds.flag),
  weightsOnly: kinds.orNull(kinds.flag),
};
const LOAD: OptionNames<LoadModuleOptions> = { ...THEIRS, dtype: dtypeKind };

interface Loadable extends nn.Module {
  readonly strictLoading: boolean;
  configureModel(): void;
  onLoadCheckpoint(checkpoint: Checkpoint): void;
}

/**
 * @param given - Hyperparameters, which win over those of the file, and Lightning's own arguments among them.
 * @param build - Calls the constructor.
 */
export function loadModule<T extends Loadable>(
  cls: { readonly name: string },
  path: string,
  given: Readonly<Record<string, unknown>>,
  options: LoadModuleOptions,
  build: (hparams: Record<string, unknown>) => T,
): T {
  const fn = "loadFromCheckpoint";
  checkArguments(fn, { overrides: given }, { overrides: kinds.record });
  if ("hparamsFile" in given)
    throw new MisconfigurationError(
      fn,
      "hyperparameters, or what the file has of them",
      "hparamsFile",
      'Read that file, and pass what is in it: loadFromCheckpoint(path, parse(readFileSync(hparamsFile, "utf8"))).',
      "ERR_CHECKPOINT_HPARAMS",
    );
  const [theirs, overrides] = apart(given);
  checkOptions(fn, theirs, THEIRS);
  checkOptions(fn, options, LOAD);
  const { dtype, strict, mapLocation } = { ...theirs, ...options };
  const place = { ...(mapLocation == null ? {} : { device: mapLocation }), ...(dtype === undefined ? {} : { dtype }) };
  const checkpoint = readLightningFile(path, place) ?? readCheckpoint(path, place);
  const other = otherClass(cls, checkpoint);
  if (other !== null && Object.keys(checkpoint.hyperparameters).length > 0)
    warn(
      "WARN_CHECKPOINT_CLASS",
      `${cls.name}.loadFromCheckpoint: ${path} was saved of a ${other}, whose hyperparameters are given to the constructor of ${cls.name}.`,
    );
  const module = buildFromHyperparameters(() => build({ ...checkpoint.hyperparameters, ...overrides }));
  mustEnd("configureModel", module.configureModel(), AT_ONCE);
  mustEnd("onLoadCheckpoint", module.onLoadCheckpoint(checkpoint), AT_ONCE);
  if (dtype !== undefined) module.to(dtype);
  if (mapLocation != null) module.to(mapLocation);
  const isStrict = strict ?? module.strictLoading;
  try {
    const { missingKeys, unexpectedKeys } = module.loadStateDict(withFloat8Histories(module, checkpoint.stateDict), {
      strict: isStrict,
    });
    if (missingKeys.length + unexpectedKeys.length > 0)
      warn(
        "WARN_CHECKPOINT_KEYS",
        plainText(
          `${cls.name}.loadFromCheckpoint: ${path} ${[
            ...(missingKeys.length === 0 ? [] : [`lacks ${missingKeys.join(", ")}`]),
            ...(unexpectedKeys.length === 0 ? [] : [`has ${unexpectedKeys.join(", ")}, which the module has not`]),
          ].join(", and ")}.`,
        ),
      );
  } catch (error) {
    throw other === null ? error : ofAnotherClass(error, path, other);
  }
  return module;
}

/** Lightning's own arguments, and hyperparameters. */
function apart(given: Readonly<Record<string, unknown>>): readonly [object, Record<string, unknown>] {
  const isTheirs = ([name]: readonly [string, unknown]): boolean => Object.hasOwn(THEIRS, name);
  const entries = Object.entries(given);
  return [
    Object.fromEntries(entries.filter(isTheirs)),
    Object.fromEntries(entries.filter((entry) => !isTheirs(entry))),
  ];
}

/** Names that a minifier made say nothing. */
const SHORTEST = 3;

/** The class whose checkpoint it is, where that is not this one and none that it extends; null: not known either. */
function otherClass(cls: { readonly name: string }, { moduleName }: Checkpoint): string | null {
  if (moduleName === undefined || moduleName.length < SHORTEST || cls.name.length < SHORTEST) return null;
  for (let c: unknown = cls; typeof c === "function"; c = Object.getPrototypeOf(c))
    if (c.name === moduleName) return null;
  return moduleName;
}
function ofAnotherClass(error: unknown, path: string, other: string): unknown {
  if (!(error instanceof NbitError) || error.code !== "STATE_DICT_MISMATCH") return error;
  return new NbitError(plainText(`${error.message} ${path} was saved of a ${other}.`), error.code, { cause: error });
}
