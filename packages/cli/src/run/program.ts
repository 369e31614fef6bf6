/** The user's file: which of its exports are the model, the data and the Trainer's options. */
import { pathToFileURL } from "node:url";
import { LightningModule, MisconfigurationError, Trainer, type Loaders, type TrainerOptions } from "@nbit/lightning";
import { nearest } from "@nbit/torch/names";
import { CommandError } from "../errors.js";
import { enableTypeScript, explainTypeScript } from "./typescript.js";
import { isPlain } from "@nbit/torch/realm";

const LOADERS = ["trainDataloaders", "valDataloaders", "testDataloaders", "predictDataloaders"] as const;
const EXPORTS = ["model", "default", "trainer", ...LOADERS];
export type LoaderExport = (typeof LOADERS)[number];

export interface Program {
  readonly model: LightningModule;
  readonly trainer: TrainerOptions;
  loaders(name: LoaderExport): Promise<Loaders>;
}

/**
 * Load the file and make its model. @throws {CommandError} `ERR_EXPORT` when an export is missing, misspelt or of
 * another kind.
 */
export async function loadProgram(command: string, path: string, file: string): Promise<Program> {
  if (path.endsWith("ts")) await enableTypeScript(command, path);
  const exported = new Map(Object.entries(await importModule(command, path)));
  for (const name of exported.keys()) {
    const near = EXPORTS.includes(name) ? null : nearest(name, EXPORTS);
    if (near !== null)
      throw new CommandError("ERR_EXPORT", `nbit ${command}: expected ${file} to export ${near}. Received: ${name}.`);
  }
  if (!exported.has("model") && !exported.has("default"))
    throw new CommandError(
      "ERR_EXPORT",
      `nbit ${command}: expected ${file} to export model, or default. Received: ${exported.size === 0 ? "no exports" : [...exported.keys()].join(", ")}.`,
    );
  const made = await give(exported.get("model") ?? exported.get("default"));
  if (!(made instanceof LightningModule))
    throw wrong(command, file, "a model that is a LightningModule, its class, or a function that returns one", made);
  const trainer: unknown = await give(exported.get("trainer"));
  if (trainer instanceof Trainer || (trainer !== undefined && !isOptions(trainer)))
    throw wrong(command, file, "a trainer that is an object of Trainer options, which flags may override", trainer);
  return {
    model: made,
    trainer: trainer ?? {},
    async loaders(name) {
      const value = await give(exported.get(name));
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

async function importModule(command: string, path: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (error) {
    throw explainTypeScript(command, error);
  }
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

/** A value as it is; of a class an instance; of a function what it returns or promises. */
async function give(value: unknown): Promise<unknown> {
  if (!isFunction(value)) return value;
  return isModuleClass(value) ? new value() : value();
}

function isFunction(value: unknown): value is () => unknown {
  return typeof value === "function";
}
function isModuleClass(value: object): value is new () => LightningModule {
  return "prototype" in value && value.prototype instanceof LightningModule;
}

function isOptions(value: unknown): value is TrainerOptions {
  return isPlain(value); // the Trainer checks the rest
}

function isLoaders(value: unknown): value is NonNullable<Loaders> {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.every((item) => typeof item === "object" && item !== null); // loaders, or batches: the Trainer tells them apart
  return Symbol.iterator in value || Symbol.asyncIterator in value;
}
