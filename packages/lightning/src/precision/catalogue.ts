import { atMost, checkArguments, checkOptions, dtypeKind, kinds, type OptionNames, verbatim } from "@nbit/torch";
import { nearest } from "@nbit/torch/names";
import { MisconfigurationError, misconfigured } from "../errors.js";
import { float64True } from "./double.js";
import type { PrecisionEntry, PrecisionFactory } from "./entry.js";
import { float8, float8InFloat16 } from "./float8.js";
import { float32True } from "./full.js";
import { bfloat16True, float16True } from "./half.js";
import { bfloat16Mixed, float16Mixed } from "./mixed.js";
import type { PrecisionName } from "./names.js";
import { Precision } from "./precision.js";
import type { PrecisionDTypes } from "./facts.js";

/** By name, in the order in which tables and messages list them. */
const catalogue = new Map<string, PrecisionEntry>();
for (const entry of [
  float32True,
  float64True,
  float16Mixed,
  bfloat16Mixed,
  float16True,
  bfloat16True,
  float8,
  float8InFloat16,
]) {
  catalogue.set(entry.name, entry);
}

/** Every precision that `new Trainer({ precision })` accepts, registered ones too. */
export function availablePrecisions(): readonly PrecisionEntry[] {
  atMost("availablePrecisions", arguments, 0);
  return [...catalogue.values()];
}

/** The entry of a canonical name; null: nobody registered one. */
export function entryNamed(name: PrecisionName): PrecisionEntry | null {
  return catalogue.get(name) ?? null;
}

/** The entry that a plugin is; null for one that is something else under that name, as APEX is. */
export function entryOf(precision: Precision): PrecisionEntry | null {
  const entry = entryNamed(precision.name);
  return entry !== null && precision.constructor === entry.plugin ? entry : null;
}

/** All accepted spellings of an entry, the shortest first. */
function spellingsOf({ name, aliases = [] }: PrecisionEntry): readonly (string | number)[] {
  const spellings: readonly (string | number)[] = [...aliases, name];
  return [...spellings].sort((a, b) => JSON.stringify(a).length - JSON.stringify(b).length);
}

/** The shortest spelling, as one writes it: `16`, `"bf16"`. */
export function spell(entry: PrecisionEntry): string {
  return JSON.stringify(spellingsOf(entry)[0]);
}

/** Canonical name of a spelling; "auto" stays. Throws for anything else, listing what is accepted. */
export function parsePrecision(input: unknown): PrecisionName | "auto" {
  if (input === "auto") return input;
  const entry = availablePrecisions().find((e) => spellingsOf(e).some((spelling) => spelling === input));
  if (entry !== undefined) return entry.name;
  const accepted = [...availablePrecisions().flatMap(spellingsOf), "auto"].map((s) => JSON.stringify(s)).join(", ");
  throw new MisconfigurationError(
    "Trainer",
    `precision to be one of ${accepted}`,
    input,
    didYouMean(input),
    "ERR_PRECISION_UNKNOWN",
  );
}

function didYouMean(input: unknown): string | undefined {
  if (typeof input !== "string") return undefined;
  const elsewhere = availablePrecisions().find(({ otherNames = [] }) => otherNames.includes(input.toLowerCase()));
  const spellings = availablePrecisions().flatMap(spellingsOf).map(String);
  const near = nearest(
    input,
    spellings.filter((s) => s.length > 2),
  );
  const meant = elsewhere === undefined ? (near === null ? null : JSON.stringify(near)) : spell(elsewhere);
  return meant === null ? undefined : `Did you mean ${meant}?`;
}

const ENTRY: OptionNames<PrecisionEntry> = {
  name: kinds.filled,
  aliases: kinds.listOf(kinds.either(kinds.filled, kinds.real())),
  otherNames: kinds.listOf(kinds.filled),
  dtypes: kinds.having<PrecisionDTypes>("dtypes of parameters, compute, gradients, optimizerState and checkpoint", {
    parameters: dtypeKind,
    compute: dtypeKind,
    gradients: dtypeKind,
    optimizerState: dtypeKind,
    checkpoint: dtypeKind,
  }),
  needs: kinds.orNull(kinds.oneOf("float16", "bfloat16", "float8")),
  uniformWeights: kinds.flag,
  scalesLoss: kinds.flag,
  label: kinds.filled,
  summary: kinds.filled,
  plugin: kinds.such<PrecisionEntry["plugin"]>(
    "a class that extends Precision",
    (v) => typeof v === "function" && v.prototype instanceof Precision,
  ),
  create: kinds.callable,
};

/**
 * Add a precision, or replace one of the same name: from here on `new Trainer({ precision: entry.name })` means it, and
 * `validationPrecision`, `precisionFor` and `explain()` know it. TypeScript learns its name from a declaration, see
 * {@link PrecisionNames}. With a name and a function, only how a precision is made is replaced.
 *
 * @throws {MisconfigurationError} for an entry without one of its facts, and for a spelling that is another
 * precision's: `registerPrecision: expected spellings of its own. Received: "bf16", which is bf16-mixed.`
 * @example
 * registerPrecision({
 *   name: "tf32-true", dtypes, needs: null, uniformWeights: true, scalesLoss: false, label: "TF32", summary: "float32 in TF32 products",
 *   plugin: Tf32Precision, create: () => new Tf32Precision(),
 * });
 */
export function registerPrecision(entry: PrecisionEntry): void;
export function registerPrecision(
  name: Exclude<PrecisionEntry["name"] | NonNullable<PrecisionEntry["aliases"]>[number], number>,
  create: PrecisionFactory,
): void;
export function registerPrecision(given: PrecisionEntry | string, create?: PrecisionFactory): void {
  atMost("registerPrecision", arguments, 2);
  const fail = misconfigured("registerPrecision", "ERR_PRECISION_ENTRY");
  if (typeof given === "string") {
    const name = parsePrecision(given);
    const entry = name === "auto" ? null : entryNamed(name);
    if (entry === null) throw fail("the name of a precision", given);
    checkArguments("registerPrecision", { create }, { create: kinds.callable }, fail);
    if (create !== undefined) catalogue.set(entry.name, { ...entry, create });
    return;
  }
  if (create !== undefined) throw fail("an entry alone, with its create inside", create);
  checkOptions("registerPrecision", given, ENTRY, fail);
  const { name, dtypes, needs, uniformWeights, scalesLoss, label, summary, plugin, create: factory } = given;
  const { aliases: _aliases, otherNames: _otherNames, ...required } = ENTRY;
  checkArguments(
    "registerPrecision",
    { name, dtypes, needs, uniformWeights, scalesLoss, label, summary, plugin, create: factory },
    required,
    fail,
  );
  for (const spelling of spellingsOf(given)) {
    const owner =
      spelling === "auto"
        ? "auto"
        : availablePrecisions().find((e) => e.name !== name && spellingsOf(e).includes(spelling))?.name;
    if (owner !== undefined)
      throw fail("spellings of its own", verbatim(`${JSON.stringify(spelling)}, which is ${owner}`));
  }
  catalogue.set(name, Object.freeze({ ...given }));
}
