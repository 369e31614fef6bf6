/** A model or a data module, of what a file exports, a class that was chosen, and its arguments. */
import { MisconfigurationError } from "@nbit/lightning";
import { buildFromHyperparameters } from "@nbit/lightning/rehearsal";
import { CommandError } from "../errors.js";
import { fill, type Values } from "../settings/fill.js";
import type { ClassChoice } from "../settings/given.js";
import { withValue, type Part } from "../settings/settle.js";
import { declaredBy } from "./declared.js";
import { isClassOf, type AnyClass } from "./kinds.js";
import { resolveClass, type Exports } from "./resolve.js";

export interface Asked {
  readonly command: string;
  /** The file, as it was given. */
  readonly file: string;
  readonly kind: "model" | "data";
  readonly part: Part;
  /** What is there where no class was chosen: a class, an instance, or a function that returns one. */
  readonly exported: unknown;
  readonly exports: Exports;
  /** What a class that is chosen must extend; null: anything of its kind. */
  readonly base?: AnyClass | null;
  /** Hyper-parameters of the checkpoint that it goes on from: below what is given, above what the class has. */
  readonly saved: Values;
}
export interface Made<T> {
  readonly made: T;
  /** How a file of settings says it. */
  readonly config: Values | ClassChoice | undefined;
}

/**
 * @throws {CommandError} as {@link fill} and {@link resolveClass}; `ERR_FLAG`: arguments for what declares none.
 * @throws {MisconfigurationError} `ERR_EXPORT`: the file exports something else.
 */
export async function make<T extends object>(asked: Asked, isWhole: (value: unknown) => value is T): Promise<Made<T>> {
  const { command, kind, part, exports } = asked;
  const target: unknown =
    part.choice === null ? asked.exported : await resolveClass(command, kind, part.choice, exports);
  checkBase(asked, target);
  const given = argumentsFor(asked, target);
  const made: unknown = isClassOf(kind, target)
    ? construct(target, given)
    : typeof target === "function"
      ? await (target as (...args: unknown[]) => unknown)(...(given.all === null ? [] : [given.all]))
      : target;
  if (!isWhole(made)) throw wrongExport(asked, made);
  record(made, given.all);
  const values = recordedBy(made, given.all);
  if (part.choice === null) return { made, config: values };
  return { made, config: { classPath: String(part.choice.value), initArgs: { ...values } } };
}

/** @throws {CommandError} `ERR_CLASS`: none was chosen, or one that does not extend what it must. */
function checkBase({ command, kind, part: { choice }, base = null }: Asked, target: unknown): void {
  if (base === null) return;
  if (choice !== null && typeof target === "function" && (target === base || target.prototype instanceof base)) return;
  throw new CommandError(
    "ERR_CLASS",
    `nbit ${command}: expected --${kind} to name a class that extends ${base.name}, such as ./own.ts#Own. Received: ${choice === null ? "none" : JSON.stringify(choice.value)}.`,
  );
}

interface Arguments {
  /** What the constructor gets; null: it is called without. */
  readonly all: Values | null;
}

function argumentsFor({ command, file, kind, part, saved }: Asked, target: unknown): Arguments {
  const [first] = part.args;
  const isFunction = typeof target === "function";
  // Asking what is declared may make one: only where that matters.
  const wanted = first !== undefined || Object.keys(saved).length > 0;
  const own = isFunction && "hparams" in target ? declaredBy(target) : null;
  const declared = own ?? (wanted && isFunction ? declaredBy(target) : null);
  if (declared === null) {
    // Its constructor needs what it was given then.
    if (first === undefined) return { all: isClassOf(kind, target) && Object.keys(saved).length > 0 ? saved : null };
    throw new CommandError(
      "ERR_FLAG",
      `nbit ${command}: expected ${file} to export ${kind === "model" ? "a LightningModule" : "a LightningDataModule"} class that says what it can be given. Received: ${first.from}, and ${whatIs(target)}. Give it static hparams = { ${first.path[0] ?? "lr"}: … }, or call saveHyperparameters in its constructor.`,
    );
  }
  const known = Object.entries(saved).filter(([name]) => Object.hasOwn(declared, name));
  const given = merge(Object.fromEntries(known), fill(command, kind, declared, part.args));
  if (own !== null) return { all: merge(own, given) };
  return { all: Object.keys(given).length === 0 ? null : given };
}

function whatIs(target: unknown): string {
  if (target === undefined) return "nothing of the kind";
  if (typeof target !== "function") return "an instance";
  return `${target.name === "" ? "a function" : target.name} that declares nothing`;
}

/** Deep, where both have maps. */
function merge(below: Values, above: Values): Values {
  return Object.entries(above).reduce<Values>((values, [name, value]) => {
    const before = values[name];
    const both = isMap(before) && isMap(value);
    return withValue(values, [name], both ? merge(before, value) : value);
  }, below);
}
const isMap = (value: unknown): value is Values =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  Object.getPrototypeOf(value) === Object.prototype;

function construct(type: new (...args: never[]) => object, { all }: Arguments): object {
  // A class without a constructor of its own has them in its hparams.
  return buildFromHyperparameters(() => Reflect.construct(type, all === null ? [] : [all]));
}

interface Recording {
  readonly hparams: Values;
  saveHyperparameters(params: object): void;
}
const isRecording = (made: object): made is Recording => "hparams" in made && "saveHyperparameters" in made;

/** What it was given and has not recorded itself, so that a checkpoint builds it again. */
function record(made: object, given: Values | null): void {
  if (given === null || !isRecording(made)) return;
  const missing = Object.entries(given).filter(([name]) => !Object.hasOwn(made.hparams, name));
  if (missing.length > 0) made.saveHyperparameters(Object.fromEntries(missing));
}
function recordedBy(made: object, given: Values | null): Values | undefined {
  const values = isRecording(made) && Object.keys(made.hparams).length > 0 ? { ...made.hparams } : given;
  return values ?? undefined;
}

const EXPECTED = {
  model: "a model that is a LightningModule, its class, or a function that returns one",
  data: "data that are a LightningDataModule, its class, or a function that returns one",
};

function wrongExport({ command, file, kind }: Asked, received: unknown): MisconfigurationError {
  return new MisconfigurationError(
    `nbit ${command}`,
    `${file} to export ${EXPECTED[kind]}`,
    received,
    undefined,
    "ERR_EXPORT",
  );
}
