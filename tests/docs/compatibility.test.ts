import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as lightning from "@nbit/lightning";
import { nn, optim } from "@nbit/torch";

const text = readFileSync(new URL("../../../docs/compatibility.md", import.meta.url), "utf8");
const classesOf = (namespace: object): string[] =>
  Object.keys(namespace)
    .filter((name) => /^[A-Z]/.test(name))
    .sort();

/** The names in the two lists of a row. */
function row(first: string): { readonly here: string[]; readonly absent: string[] } {
  const cells =
    text
      .split("\n")
      .find((line) => line.startsWith(`| ${first} |`))
      ?.split("|") ?? [];
  const [here = [], absent = []] = cells
    .slice(2, 4)
    .map((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name ?? ""));
  assert.ok(here.length > 0 && cells.length === 5, first);
  return { here, absent };
}

test("the page names every layer, optimizer and schedule, and none that is not there", () => {
  for (const [first, namespace] of [
    ["`nn`, layers", nn],
    ["`optim`", optim],
  ] as const) {
    const { here, absent } = row(first);
    assert.deepEqual([...here].sort(), classesOf(namespace), first);
    assert.deepEqual(
      absent.filter((name) => name in namespace),
      [],
      first,
    );
  }
});

test("it names every callback, logger and strategy, and none that is not there", () => {
  const kinds = [
    ["callbacks", lightning.Callback],
    ["loggers", lightning.Logger],
    ["strategies", null],
  ] as const;
  for (const [first, base] of kinds) {
    const { here, absent } = row(first);
    const all = Object.entries(lightning).filter(([name, value]) =>
      base === null
        ? /^[A-Z]\w*Strategy$/.test(name)
        : typeof value === "function" && (value.prototype as unknown) instanceof base,
    );
    assert.deepEqual([...here].sort(), all.map(([name]) => name).sort(), first);
    assert.deepEqual(
      absent.filter((name) => name in lightning),
      [],
      first,
    );
  }
});
