/** From settings and a program to a Trainer, a model and its data: what `nbit fit` and LightningCLI do alike. */
import { randomInt } from "node:crypto";
import {
  LightningDataModule,
  LightningModule,
  seedEverything,
  Trainer,
  type Callback,
  type Logger,
  type TrainerOptions,
} from "@nbit/lightning";
import { clusterEnvironment } from "@nbit/torch/distributed";
import { makeCallback, makeLogger, recipeOf, type Recipe } from "../classes/instantiate.js";
import { make, type Made } from "../classes/make.js";
import type { AnyClass } from "../classes/kinds.js";
import type { Exports } from "../classes/resolve.js";
import { findCheckpoint, headOf, NO_HEAD } from "../run/checkpoints.js";
import { seedOf, textOf } from "../run/settings.js";
import { writable, type Config } from "../settings/dump.js";
import type { PartName, Settings } from "../settings/settle.js";
import { configureOptimizers, replaceOptimizers, type Configure } from "./optimizers.js";

export interface Sources {
  readonly command: string;
  /** What messages call the program. */
  readonly file: string;
  readonly exports: Exports;
  readonly model: unknown;
  readonly data: unknown;
  /** What classes that settings choose must extend. */
  readonly bases?: Readonly<Partial<Record<"model" | "data", AnyClass>>>;
  readonly trainer: TrainerOptions;
  readonly trainerClass?: new (options: TrainerOptions) => Trainer;
  readonly configure?: Configure;
  /** Instead of those that settings name. */
  readonly optimizers?: { readonly optimizer: Recipe | null; readonly lrScheduler: Recipe | null };
  /** What becomes of the file of settings. */
  readonly finish?: (config: Config) => Config;
  /** More callbacks, made when the rest is known. */
  readonly callbacks?: (config: () => Config) => readonly Callback[];
}

export interface Prepared {
  readonly trainer: Trainer;
  readonly model: LightningModule;
  readonly datamodule: LightningDataModule | null;
  /** Null: none was asked for, or no run has left one. */
  readonly ckptPath: string | null;
  /** What was asked for. */
  readonly askedCkptPath: string | null;
  readonly config: Config;
}

/**
 * Seed before anything of the program runs. Without one that is given, a fit draws one, so that it can be repeated.
 *
 * @returns the seed; null: there is none.
 */
export function seedRun(command: string, settings: Settings): number | null {
  const given = seedOf(command, settings);
  if (given === false) return null;
  if (given !== null) return seedEverything(given);
  // Processes that somebody else has started would each draw their own.
  if (command !== "fit" || (clusterEnvironment()?.worldSize ?? 1) > 1) return null;
  return seedEverything(randomInt(2 ** 32));
}

/** Run `work`; processes that it starts read the seed from their environment, as settings do. */
export async function sharingSeed<T>(seed: number | null, prefix: string, work: () => Promise<T>): Promise<T> {
  const name = `${prefix}_FIT__SEED`;
  const before = process.env[name];
  if (seed !== null) process.env[name] = String(seed);
  try {
    return await work();
  } finally {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  }
}

export async function prepare(settings: Settings, sources: Sources, seed: number | null): Promise<Prepared> {
  const { command } = sources;
  const recipes = await recipesOf(command, settings, sources);
  let config: Config = { trainer: {} };
  const trainer = makeTrainer(settings, sources, recipes, () => config);
  const askedCkptPath = textOf(command, settings, "ckptPath");
  const ckptPath =
    askedCkptPath === null ? null : findCheckpoint(command, askedCkptPath, trainer, textOf(command, settings, "run"));
  const head = ckptPath === null ? NO_HEAD : headOf(ckptPath);
  const model = await part(sources, settings, "model", head.hyperparameters, isModule);
  const data = hasData(sources, settings) ? await part(sources, settings, "data", head.data, isDataModule) : null;
  replaceOptimizers(command, model.made, recipes, sources.configure ?? configureOptimizers);
  config = {
    file: textOf(command, settings, "file") ?? undefined,
    seed: seed ?? undefined,
    ckptPath: ckptPath ?? undefined,
    trainer: trainerConfig(sources.trainer, settings, recipes),
    model: model.config,
    data: data?.config,
    optimizer: recipes.optimizer?.config,
    lrScheduler: recipes.lrScheduler?.config,
  };
  config = sources.finish?.(config) ?? config;
  return { trainer, model: model.made, datamodule: data?.made ?? null, ckptPath, askedCkptPath, config };
}

function hasData({ data }: Sources, { parts }: Settings): boolean {
  return data !== undefined || parts.data.choice !== null || parts.data.args.length > 0;
}

function makeTrainer(
  settings: Settings,
  { trainer, trainerClass: Class = Trainer, callbacks }: Sources,
  recipes: Recipes,
  config: () => Config,
): Trainer {
  const given = Object.fromEntries(settings.trainer);
  const all = [...asList(trainer.callbacks), ...recipes.callbacks.map(makeCallback), ...(callbacks?.(config) ?? [])];
  const options: TrainerOptions = { ...trainer, ...given, callbacks: all };
  const root = options.defaultRootDir ?? process.cwd();
  const logger: readonly Logger[] = recipes.loggers.map((recipe) => makeLogger(recipe, root));
  return new Class(logger.length === 0 ? options : { ...options, logger });
}

interface Recipes {
  readonly callbacks: readonly Recipe[];
  readonly loggers: readonly Recipe[];
  readonly optimizer: Recipe | null;
  readonly lrScheduler: Recipe | null;
}

async function recipesOf(
  command: string,
  { callbacks, loggers, parts }: Settings,
  { exports, optimizers }: Sources,
): Promise<Recipes> {
  const all = async (kind: "callbacks" | "logger", list: typeof callbacks): Promise<Recipe[]> =>
    (await Promise.all(list.map((each) => recipeOf(command, kind, each, exports)))).filter((recipe) => recipe !== null);
  return {
    callbacks: await all("callbacks", callbacks),
    loggers: await all("logger", loggers),
    ...(optimizers ?? {
      optimizer: await recipeOf(command, "optimizer", parts.optimizer, exports),
      lrScheduler: await recipeOf(command, "lrScheduler", parts.lrScheduler, exports),
    }),
  };
}

function part<T extends object>(
  { command, file, exports, bases = {}, ...sources }: Sources,
  { parts }: Settings,
  kind: Extract<PartName, "model" | "data">,
  saved: Readonly<Record<string, unknown>>,
  isWhole: (value: unknown) => value is T,
): Promise<Made<T>> {
  return make(
    { command, file, kind, part: parts[kind], exported: sources[kind], exports, base: bases[kind] ?? null, saved },
    isWhole,
  );
}

const isModule = (value: unknown): value is LightningModule => value instanceof LightningModule;
const isDataModule = (value: unknown): value is LightningDataModule => value instanceof LightningDataModule;

function asList(callbacks: TrainerOptions["callbacks"]): readonly Callback[] {
  return callbacks === undefined ? [] : Array.isArray(callbacks) ? callbacks : [callbacks as Callback];
}

/** Options that a text can say, and classes by name. What a program gives as objects stays in the program. */
function trainerConfig(own: TrainerOptions, { trainer }: Settings, { callbacks, loggers }: Recipes): Config["trainer"] {
  const { callbacks: _objects, ...options } = { ...own, ...Object.fromEntries(trainer) };
  const plain = Object.entries(options).flatMap(([name, value]: [string, unknown]) => {
    const text = writable(value);
    return text === undefined ? [] : [[name, text] as const];
  });
  return {
    ...Object.fromEntries(plain),
    ...(loggers.length === 0 ? {} : { logger: loggers.map(({ config }) => config) }),
    ...(callbacks.length === 0 ? {} : { callbacks: callbacks.map(({ config }) => config) }),
  };
}
