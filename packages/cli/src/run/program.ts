/** The user's file: which of its exports are the model, the data and the Trainer's options. */
import {
  LightningDataModule,
  LightningModule,
  MisconfigurationError,
  Trainer,
  type Loaders,
  type TrainerOptions,
} from "@nbit/lightning";
import { nearest } from "@nbit/torch/names";
import { isPlain } from "@nbit/torch/realm";
import { isClassOf } from "../classes/kinds.js";
import type { Exports } from "../classes/resolve.js";
import { CommandError } from "../errors.js";
import { importModule } from "./import.js";

const LOADERS = ["trainDataloaders", "valDataloaders", "testDataloaders", "predictDataloaders"] as const;
const MODELS = ["model", "default"] as const;
const DATA = ["data", "datamodule"] as const;
const EXPORTS: readonly string[] = [...MODELS, ...DATA, "trainer", ...LOADERS];
export type LoaderExport = (typeof LOADERS)[number];

export interface Program {
  readonly exports: Exports;
  /** A class, an instance or a function; undefined: `--model` chooses. */
  readonly model: unknown;
  /** The same of the data module; undefined: there is none. */
  readonly data: unknown;
  readonly trainer: TrainerOptions;
  loaders(name: LoaderExport): Promise<Loaders>;
}

/** Nothing but what flags choose. */
export const NO_PROGRAM: Program = {
  exports: new Map(),
  model: undefined,
  data: undefined,
  trainer: {},
  loaders: () => Promise.resolve(undefined),
};

/**
 * Import the file and find its parts: by their names, or, where no name says it, the one class of its kind.
 *
 * @param chosen - Parts that flags choose: the file need not have them.
 * @throws {CommandError} `ERR_EXPORT` when an export is missing, misspelt or of another kind.
 */
export async function loadProgram(
  command: string,
  path: string,
  file: string,
  chosen: { readonly model: boolean; readonly data: boolean } = { model: false, data: false },
): Promise<Program> {
  const exports = new Map(Object.entries(await importModule(command, path)));
  for (const [name, value] of exports) {
    const near = EXPORTS.includes(name) || isClass(value) ? null : nearest(name, EXPORTS);
    if (near !== null)
      throw new CommandError("ERR_EXPORT", `nbit ${command}: expected ${file} to export ${near}. Received: ${name}.`);
  }
  const find = (kind: "model" | "data", names: readonly string[]): unknown =>
    chosen[kind] ? undefined : (named(exports, names, kind) ?? onlyClass(command, file, kind, exports));
  const model = find("model", MODELS);
  const data = find("data", DATA);
  if (model === undefined && !chosen.model)
    throw new CommandError(
      "ERR_EXPORT",
      `nbit ${command}: expected ${file} to export model, or default. Received: ${exports.size === 0 ? "no exports" : [...exports.keys()].join(", ")}.`,
    );
  const [loader] = LOADERS.filter((name) => exports.has(name));
  if (loader !== undefined && DATA.some((name) => exports.has(name)))
    throw new CommandError(
      "ERR_EXPORT",
      `nbit ${command}: expected ${file} to export data or loaders. Received: both, data and ${loader}.`,
    );
  const trainer: unknown = await give(exports.get("trainer"));
  if (trainer instanceof Trainer || (trainer !== undefined && !isPlain(trainer)))
    throw wrong(command, file, "a trainer that is an object of Trainer options, which flags may override", trainer);
  return {
    exports,
    model,
    data: loader === undefined ? data : undefined,
    trainer: trainer ?? {}, // the Trainer checks what is in it
    async loaders(name) {
      const value = await give(exports.get(name));
      if (value !== undefined && value !== null && !isLoaders(value))
        throw wrong(
          command,
          file,
          `${name} that are a DataLoader, a list of them, or a function that returns one`,
          value,
        );
      return value;
    },
  };
}

/** What is exported by one of these names; of a default that is of another kind, nothing. */
function named(exports: Exports, names: readonly string[], kind: "model" | "data"): unknown {
  for (const name of names) {
    const value = exports.get(name);
    if (value === undefined || (name === "default" && isOfOther(kind, value))) continue;
    return value;
  }
  return undefined;
}
function isOfOther(kind: "model" | "data", value: unknown): boolean {
  return kind === "model" && (isClassOf("data", value) || value instanceof LightningDataModule);
}

function onlyClass(command: string, file: string, kind: "model" | "data", exports: Exports): unknown {
  const found = [...exports].filter(([, value]) => isClassOf(kind, value) && value !== LightningModule);
  if (found.length > 1)
    throw new CommandError(
      "ERR_EXPORT",
      `nbit ${command}: expected ${file} to export ${kind}, or one class for it. Received: ${found.map(([name]) => name).join(", ")}. Choose with --${kind} ${found[0]?.[0] ?? ""}.`,
    );
  return found[0]?.[1];
}

function wrong(command: string, file: string, expected: string, received: unknown): MisconfigurationError {
  return new MisconfigurationError(
    `nbit ${command}`,
    `${file} to export ${expected}`,
    received,
    undefined,
    "ERR_EXPORT",
  );
}

const isClass = (value: unknown): boolean =>
  typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));

/** A value as it is; of a function what it returns or promises. */
async function give(value: unknown): Promise<unknown> {
  return typeof value === "function" ? (value as () => unknown)() : value;
}

function isLoaders(value: unknown): value is NonNullable<Loaders> {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.every((item) => typeof item === "object" && item !== null); // loaders, or batches: the Trainer tells them apart
  return Symbol.iterator in value || Symbol.asyncIterator in value || isPlain(value);
}
