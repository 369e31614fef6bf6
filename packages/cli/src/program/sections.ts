/** What a program's own parser adds to the settings: sections that choose classes, links, values of its own. */
import type { LightningDataModule, LightningModule } from "@nbit/lightning";
import { MisconfigurationError } from "@nbit/lightning";
import { ArgumentError } from "@nbit/torch";
import { isPlain } from "@nbit/torch/realm";
import { readValue } from "../arguments/value.js";
import { declaredBy } from "../classes/declared.js";
import { recipeOf, type Recipe } from "../classes/instantiate.js";
import { ownClasses } from "../classes/kinds.js";
import { CommandError } from "../errors.js";
import type { Config } from "../settings/dump.js";
import { fill, fillFreely, type Values } from "../settings/fill.js";
import { PARTS, type Part, type PartName, type Settings } from "../settings/settle.js";
import type { ClassSection, LightningArgumentParser } from "./argument-parser.js";

export interface SectionRecipe {
  readonly name: string;
  readonly section: ClassSection;
  readonly recipe: Recipe | null;
}
type Made<T> = (new (...args: never[]) => T) | ((...args: never[]) => T);
export interface Classes {
  readonly model: Made<LightningModule> | null;
  readonly data: Made<LightningDataModule> | null;
}

export const isPartName = (name: string): name is PartName => (PARTS as readonly string[]).includes(name);

const NOTHING: Part = { choice: null, args: [] };
const partOf = ({ parts, sections }: Settings, name: string): Part =>
  isPartName(name) ? parts[name] : (sections.get(name) ?? NOTHING);

/** Of all sections that choose classes. A schedule is made where it is asked for; the others where their class is known. */
export async function sectionRecipes(
  command: string,
  { sections }: LightningArgumentParser,
  settings: Settings,
): Promise<SectionRecipe[]> {
  return Promise.all(
    [...sections].map(async ([name, section]) => {
      const part = partOf(settings, name);
      const wanted = part.choice !== null || part.args.length > 0 || section.kind !== "lrScheduler";
      const recipe = wanted ? await recipeOf(command, section.kind, part, new Map(), section.type) : null;
      return { name, section, recipe };
    }),
  );
}

/** The one that becomes what `configureOptimizers` returns. @throws {MisconfigurationError} `ERR_CLI_OPTIMIZERS`: several. */
export function automatic(recipes: readonly SectionRecipe[], kind: "optimizer" | "lrScheduler"): Recipe | null {
  const found = recipes.filter(
    ({ section, recipe }) => section.kind === kind && section.linkTo === "AUTOMATIC" && recipe !== null,
  );
  if (found.length > 1)
    throw new MisconfigurationError(
      "LightningCLI",
      `one ${kind} that nothing is linked to`,
      found.map(({ name }) => name),
      "Link them to arguments of the model.",
      "ERR_CLI_OPTIMIZERS",
    );
  return found[0]?.recipe ?? null;
}

/** Settings with what is linked to them, and with optimizers that the model takes as arguments. */
export function linkedSettings(
  command: string,
  { links }: LightningArgumentParser,
  settings: Settings,
  { recipes, classes }: { readonly recipes: readonly SectionRecipe[]; readonly classes: Classes },
): Settings {
  const parts: Record<PartName, Part> = { ...settings.parts };
  const give = (target: string, value: unknown, from: string): void => {
    const [part = "", ...path] = target.split(".");
    if (!isPartName(part) || path.length === 0)
      throw new ArgumentError(
        "linkArguments",
        "target to be an argument of the model or the data, such as model.batchSize",
        target,
      );
    if (parts[part].args.some((given) => given.path.join(".") === path.join(".")))
      throw new CommandError(
        "ERR_FLAG",
        `nbit ${command}: expected no ${target}: it is what ${from} is. Received: both.`,
      );
    const given = { path, value, isText: false, from: `${target}, linked to ${from}` };
    parts[part] = { ...parts[part], args: [...parts[part].args, given] };
  };
  for (const { source, target, computeFn } of links)
    give(target, computeFn(valueOf(command, settings, classes, source)), source);
  for (const { name, section, recipe } of recipes)
    if (section.linkTo !== "AUTOMATIC" && recipe !== null) give(section.linkTo, choiceOf(section, recipe), name);
  return { ...settings, parts };
}

/** Plain where that can be, so that checkpoints and files of settings hold it. */
function choiceOf({ kind }: ClassSection, { type, initArgs }: Recipe): object {
  const isOurs = ownClasses(kind).get(type.name) === type;
  return { classPath: isOurs ? type.name : type, initArgs };
}

/** What a setting is: given, or the default that its class declares. */
function valueOf(command: string, { parts, own, trainer }: Settings, classes: Classes, source: string): unknown {
  const [first = "", ...path] = source.split(".");
  if (first === "trainer") return trainer.get(path.join("."));
  if (first !== "model" && first !== "data") return own.get(source)?.value;
  const target = classes[first];
  const declared: Values = target === null ? {} : (declaredBy(target) ?? {});
  const given = fill(command, first, declared, parts[first].args);
  return at(given, path) ?? at(declared, path);
}
function at(values: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, name) => (typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined),
    values,
  );
}

/** Values of flags and sections that the parser added, as a file of settings has them. */
export function ownSettings(command: string, parser: LightningArgumentParser, settings: Settings): Values {
  const flags = [...parser.flags].flatMap(([name, flag]) => {
    const given = settings.own.get(name);
    if (given === undefined) return [];
    const { value, isText, from } = given;
    return [[name, isText && typeof value === "string" ? readValue(command, from, flag, value) : value] as const];
  });
  const sections = [...settings.sections].map(([name, { choice, args }]) => {
    const initArgs = fillFreely(args);
    return [name, choice === null ? initArgs : { classPath: String(choice.value), initArgs }] as const;
  });
  return Object.fromEntries([...flags, ...sections]);
}

/** Settings without what is linked to others: read again, they are what those are then. */
export function withoutLinked(config: Config, { links, sections }: LightningArgumentParser): Config {
  const linked = [...sections.values()].flatMap(({ linkTo }) => (linkTo === "AUTOMATIC" ? [] : [linkTo]));
  return [...links.map(({ target }) => target), ...linked].reduce<Config>((left, target) => {
    const [part = "", ...path] = target.split(".");
    const value = left[part];
    const inner = isPlain(value) && "classPath" in value ? ["initArgs", ...path] : path;
    return { ...left, [part]: without(value, inner) };
  }, config);
}
function without(value: unknown, [name = "", ...rest]: readonly string[]): unknown {
  if (!isPlain(value) || !Object.hasOwn(value, name)) return value;
  const { [name]: dropped, ...others } = value;
  return rest.length === 0 ? others : { ...others, [name]: without(dropped, rest) };
}
