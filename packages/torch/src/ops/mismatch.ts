/**
 * Why no overload of an operator takes the arguments of a call: the first of them that is at fault, by name, with what
 * it may be.
 */
import { ArgumentError } from "../errors.js";
import { nearest } from "../names.js";
import { dtypeMeant } from "../tensor/dtype.js";
import { MOST_ELEMENTS } from "../read-once.js";
import { conversionCost, NUMBERS_AS_TENSORS, Tag } from "./conversion-cost.js";
import { isOptions, isTooLong, tagOf } from "./tags.js";
import type { Argument, KindLetter, Schema } from "./schema.js";

const KINDS: Readonly<Record<KindLetter, readonly [one: string, many: string]>> = {
  t: ["a tensor", "an array of tensors"],
  i: ["a whole number", "an array of whole numbers"],
  f: ["a number", "an array of numbers"],
  s: ["a number", "an array of numbers"],
  b: ["true or false", "an array of booleans"],
  S: ["a string", "an array of strings"],
  d: ['a dtype such as "float32"', "dtypes"],
  l: ['a layout such as "strided"', "layouts"],
  m: ['a memory format such as "channelsLast"', "memory formats"],
  D: ['a device such as "cpu"', "devices"],
  g: ["a Generator", "generators"],
  "?": ["nothing from JavaScript", "nothing from JavaScript"],
};

/** What any of these arguments may be. */
function mayBe(args: readonly Argument[], value: unknown): string {
  if (isTooLong(value) && args.some((arg) => arg.list === true))
    return `an array of at most ${MOST_ELEMENTS.toLocaleString("en")} elements`;
  const words = args.flatMap((arg) => {
    const [one, many] = KINDS[arg.kind];
    return arg.list === true ? (arg.size === undefined || arg.kind === "t" ? [many] : [one, many]) : [one];
  });
  if (args.some((arg) => arg.optional === true)) words.push("null");
  return [...new Set(words)].join(", or ");
}

/** The schemas without those that write to `out`, unless the call names one. */
function candidates(schemas: readonly Schema[], options: Readonly<Record<string, unknown>> | null): readonly Schema[] {
  const plain = schemas.filter((s) => !s.args.some((a) => a.write === true && a.kwarg === true));
  return plain.length === 0 || (options !== null && "out" in options) ? schemas : plain;
}

/** An error for a call of `fn` that none of `schemas` takes. */
export function mismatch(fn: string, schemas: readonly Schema[], args: readonly unknown[]): ArgumentError {
  const last = args[args.length - 1];
  const options = isOptions(last) ? last : null;
  const forms = candidates(schemas, options);
  return (
    (options === null ? null : wrongOption(fn, forms, options)) ??
    wrongPosition(fn, forms, options === null ? args : args.slice(0, -1)) ??
    neither(fn, forms, args)
  );
}

function wrongOption(
  fn: string,
  forms: readonly Schema[],
  options: Readonly<Record<string, unknown>>,
): ArgumentError | null {
  const all = forms.flatMap((s) => s.args);
  const isFactory = all.some((a) => a.camel === "dtype");
  const names = new Set([
    ...all.map((a) => a.camel).filter((name) => name !== "self"),
    ...(isFactory ? ["requiresGrad"] : []),
  ]);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (!names.has(name)) {
      const near = nearest(name, names);
      return new ArgumentError(
        fn,
        near === null
          ? names.size === 0
            ? "no options"
            : `options among ${[...names].join(", ")}`
          : `the option ${near}`,
        name,
      );
    }
    const takers = all.filter((a) => a.camel === name);
    if (takers.length > 0 && takers.every((a) => conversionCost(a, tagOf(value)) === Infinity))
      return new ArgumentError(
        fn,
        `${name} to be ${mayBe(takers, value)}`,
        value,
        takers.some((a) => a.kind === "d") ? dtypeMeant(value) : "",
      );
  }
  return null;
}

/** How many leading arguments a form takes. */
function taken(schema: Schema, args: readonly unknown[]): number {
  const slots = schema.args.filter((a) => a.kwarg !== true);
  for (let i = 0; i < args.length; i++) {
    const slot = slots[i];
    if (slot === undefined) return i;
    const tag = tagOf(args[i]);
    const asTensor =
      i === 1 && slot.kind === "t" && tag >= Tag.integer && tag <= Tag.boolean && NUMBERS_AS_TENSORS.has(schema.name);
    if (!asTensor && conversionCost(slot, tag) === Infinity) return i;
  }
  return args.length;
}

function wrongPosition(fn: string, forms: readonly Schema[], args: readonly unknown[]): ArgumentError | null {
  const counts = forms.map((s) => taken(s, args));
  const most = Math.max(...counts);
  if (most >= args.length) return null;
  const slots = forms.flatMap((s, i) => {
    const slot = counts[i] === most ? s.args.filter((a) => a.kwarg !== true)[most] : undefined;
    return slot === undefined ? [] : [slot];
  });
  if (slots.length === 0) return null; // too many
  const names = [...new Set(slots.map((a) => a.camel))];
  return new ArgumentError(
    fn,
    `${names.join(" or ")} to be ${mayBe(slots, args[most])}`,
    args[most],
    slots.some((a) => a.kind === "d") ? dtypeMeant(args[most]) : "",
  );
}

function neither(fn: string, forms: readonly Schema[], args: readonly unknown[]): ArgumentError {
  const texts = forms.slice(0, 6).map((s) => s.text.replace(/^aten::/, ""));
  return new ArgumentError(
    fn,
    "the arguments of one of its forms",
    args,
    `Lists are arrays; keyword arguments go in a last plain object, in camelCase. Its forms:\n  ${texts.join("\n  ")}`,
  );
}
