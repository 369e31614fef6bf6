/**
 * Nothing that is given is dropped: every export, static and method refuses an option that it does not have, and an
 * argument that it does not take, by a coded error that names it. A new export must be put into one of the tables, or
 * this fails.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { walk, type Callable, type Export } from "./every-export.js";
import { EXEMPT } from "./exemptions.js";
import { PLAIN } from "./plain.js";
import { ROWS, type Row } from "./rows.js";

const UNKNOWN = { notAnOption: 1 };
const FAR: readonly unknown[] = new Array<undefined>(12).fill(undefined);
const { exports, operators } = walk();
const isExempt = (path: string): boolean => EXEMPT.some(([paths]) => paths.test(path));

function call({ kind, value, owner }: Export, args: readonly unknown[], self?: object): unknown {
  if (kind === "class") return Reflect.construct(value, args);
  const receiver =
    self ??
    (kind === "method"
      ? (Object.create((owner as { readonly prototype?: object } | null)?.prototype ?? null) as object)
      : owner);
  return Reflect.apply(value, receiver, args as never[]);
}

/** What is wrong with how a call is refused; null: nothing. */
async function fault(one: Export, args: readonly unknown[], self?: object): Promise<string | null> {
  try {
    await call(one, args, self);
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    if (typeof code === "string" && /^[A-Z][A-Z0-9_]+$/.test(code) && String(message).includes("notAnOption"))
      return null;
    return `${one.path} says: ${String(code)}, ${String(message).slice(0, 120)}`;
  }
  return `${one.path} takes it`;
}

test("every export stands in exactly one table, and every row is of an export", () => {
  const paths = exports.map((e) => e.path);
  const places = (path: string): number =>
    Number(isExempt(path)) + Number(Object.hasOwn(ROWS, path)) + Number(PLAIN.has(path));
  assert.deepEqual(
    paths.filter((path) => places(path) === 0),
    [],
    "without a row: put it into rows.ts when it takes options, else into plain.ts",
  );
  assert.deepEqual(
    paths.filter((path) => places(path) > 1),
    [],
    "in several tables",
  );
  const known = new Set(paths);
  assert.deepEqual(
    [...Object.keys(ROWS), ...PLAIN].filter((path) => !known.has(path)),
    [],
    "rows of nothing",
  );
});

test("functions listed as taking no options declare none", () => {
  const takesOptions = ({ kind, value }: Export): boolean => {
    const text = Function.prototype.toString.call(value);
    return kind === "class"
      ? /constructor\([^{]*\boptions\b/.test(text) || /constructor\([^{]*\.\.\.rest\b/.test(text)
      : /^[^{]*\boptions\b/.test(text) || text.includes("optionsFrom(");
  };
  assert.deepEqual(
    exports.filter((e) => PLAIN.has(e.path) && takesOptions(e)).map((e) => e.path),
    [],
  );
});

test("an option that is not there is refused in the options' place", async () => {
  const faults: string[] = [];
  for (const one of exports) {
    const make = Object.hasOwn(ROWS, one.path) ? ROWS[one.path] : undefined;
    if (make === undefined) continue;
    const { args, self }: Row = make();
    const found = await fault(one, [...args, UNKNOWN], self);
    if (found !== null) faults.push(found);
  }
  assert.deepEqual(faults, []);
});

test("an argument beyond the last is refused", async () => {
  const faults: string[] = [];
  for (const one of exports) {
    if (isExempt(one.path)) continue;
    const { args, self }: Row = (Object.hasOwn(ROWS, one.path) ? ROWS[one.path] : undefined)?.() ?? { args: [] };
    const found = await fault(one, [...args, ...FAR, UNKNOWN], self);
    if (found !== null) faults.push(found);
  }
  assert.deepEqual(faults, []);
});

test("operators check by their schemas", () => {
  assert.ok(operators.length > 1000);
  const taken = operators.filter(({ value, kind, owner }) => {
    try {
      Reflect.apply(
        value as Callable,
        kind === "method" ? Object.create((owner as unknown as { readonly prototype: object }).prototype) : undefined,
        [...FAR, UNKNOWN] as never[],
      );
      return true;
    } catch (error) {
      return typeof (error as { readonly code?: unknown }).code !== "string";
    }
  });
  assert.deepEqual(
    taken.map((o) => o.path),
    [],
  );
});
