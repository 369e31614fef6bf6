/** Instances of classes that settings name: callbacks, loggers, optimizers, schedulers. */
import type { Callback, LightningModule, Logger } from "@nbit/lightning";
import { ArgumentError, atMost, checkArguments, kinds, type optim } from "@nbit/torch";
import { CommandError } from "../errors.js";
import { fillFreely, type Values } from "../settings/fill.js";
import type { ClassChoice } from "../settings/given.js";
import type { Part } from "../settings/settle.js";
import { ownClasses, type AnyClass, type ClassKind } from "./kinds.js";
import { resolveClass, type Exports } from "./resolve.js";

/** A class with the arguments that it shall be given: an instance can be made of it any number of times. */
export interface Recipe {
  readonly type: AnyClass;
  readonly initArgs: Values;
  readonly config: ClassChoice;
}

/** @param standard - The class where none was chosen. Null: there is none then. */
export async function recipeOf(
  command: string,
  kind: ClassKind,
  part: Part,
  exports: Exports,
  standard: AnyClass | null = null,
): Promise<Recipe | null> {
  const type = part.choice === null ? standard : await resolveClass(command, kind, part.choice, exports);
  const initArgs = fillFreely(part.args);
  if (type !== null) return { type, initArgs, config: { classPath: classPathOf(part, type), initArgs } };
  const [first] = part.args;
  if (first === undefined) return null;
  throw new CommandError(
    "ERR_FLAG",
    `nbit ${command}: expected --${kind} to name a class for ${first.from}. Received: none. Such as --${kind} ${EXAMPLES[kind]}.`,
  );
}
const EXAMPLES: Readonly<Record<ClassKind, string>> = {
  model: "Net",
  data: "Digits",
  optimizer: "SGD",
  lrScheduler: "StepLR",
  callbacks: "EarlyStopping",
  logger: "CSVLogger",
};
const classPathOf = ({ choice }: Part, type: AnyClass): string => (choice === null ? type.name : String(choice.value));

export function makeCallback({ type, initArgs }: Recipe): Callback {
  return Reflect.construct(type, Object.keys(initArgs).length === 0 ? [] : [initArgs]) as Callback;
}

/** Loggers take the folder of all runs first. */
export function makeLogger({ type, initArgs }: Recipe, defaultRootDir: string): Logger {
  const { saveDir = defaultRootDir, ...options } = initArgs;
  return Reflect.construct(type, [saveDir, options]) as Logger;
}

/** What of a schedule's arguments the Trainer reads, and not its class. */
const OF_TRAINER = ["interval", "frequency", "monitor", "strict"];

export function makeOptimizer({ type, initArgs }: Recipe, module: LightningModule): optim.Optimizer {
  return Reflect.construct(type, [module.parameters(), initArgs]) as optim.Optimizer;
}

/** A scheduler, and when it is stepped: what `configureOptimizers` returns as `lrScheduler`. */
export function makeScheduler({ type, initArgs }: Recipe, optimizer: optim.Optimizer): SchedulerParts {
  const entries = Object.entries(initArgs);
  const of = (mine: boolean): Values =>
    Object.fromEntries(entries.filter(([name]) => OF_TRAINER.includes(name) === mine));
  return { scheduler: Reflect.construct(type, [optimizer, of(false)]) as SchedulerParts["scheduler"], ...of(true) };
}
export interface SchedulerParts {
  readonly scheduler: optim.LRScheduler | optim.ReduceLROnPlateau;
  readonly monitor?: string;
}

/**
 * Make an instance of `{ classPath, initArgs }`: what an optimizer's section linked to an argument of a model gives it.
 *
 * @param args - What stands before the arguments: parameters, for an optimizer; undefined: nothing.
 * @param init - The class itself, or the name of one of nbit's optimizers, schedulers, callbacks or loggers.
 * @example this.optimizer = instantiateClass(this.parameters(), this.hparams.optimizer);
 */
export function instantiateClass(
  args: unknown,
  init: { readonly classPath: string | AnyClass; readonly initArgs?: Values },
): object {
  atMost("instantiateClass", arguments, 2);
  checkArguments("instantiateClass", { init: init as object }, { init: kinds.record });
  const { classPath, initArgs = {} } = init;
  const type = typeof classPath === "string" ? oursByName(classPath) : classPath;
  if (typeof type !== "function")
    throw new ArgumentError("instantiateClass", "classPath to be a class, or the name of one of nbit's", classPath);
  return Reflect.construct(type, args === undefined ? [initArgs] : [args, initArgs]);
}
function oursByName(name: string): AnyClass | undefined {
  for (const kind of ["optimizer", "lrScheduler", "callbacks", "logger"] as const) {
    const type = ownClasses(kind).get(name);
    if (type !== undefined) return type;
  }
  return undefined;
}
