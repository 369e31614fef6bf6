/** Layers print as PyTorch's do: make_prints.py records those of the toolbox's table, and a few containers. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { nn } from "@nbit/torch";
import { camel } from "../../helpers/camel.js";
import { lookup, type Row } from "../toolbox/table.js";
import * as torch from "@nbit/torch";

const here = new URL("../../../parity/", import.meta.url);
const rows = JSON.parse(readFileSync(new URL("toolbox/cases/layers.json", here), "utf8")) as readonly Row[];
const [, ...lines] = readFileSync(new URL("layers/prints.jsonl", here), "utf8").trimEnd().split("\n");
const prints = new Map(lines.map((line) => JSON.parse(line) as [string, string]));

const CONTAINERS: Readonly<Record<string, () => nn.Module>> = {
  Sequential: () => new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU({ inplace: true })),
  ModuleList: () =>
    new nn.ModuleList([
      new nn.ReLU(),
      new nn.ReLU(),
      new nn.Sequential(new nn.Tanh()),
      new nn.Sequential(new nn.Tanh()),
    ]),
  ModuleDict: () => new nn.ModuleDict({ a: new nn.ReLU(), b: new nn.Dropout(0.25) }),
  LazyConv2d: () => new nn.LazyConv2d(4, 3, { padding: 1 }),
  LazyBatchNorm2d: () => new nn.LazyBatchNorm2d(),
};

type Newable = new (...args: readonly unknown[]) => nn.Module;
function made({ call, args = [], kwargs = {} }: Row): nn.Module {
  const named = Object.entries(kwargs).map(([name, value]) => [camel(name), value] as const);
  return new (lookup(torch, call) as Newable)(...args, ...(named.length > 0 ? [Object.fromEntries(named)] : []));
}

/** A number that is whole: Python tells `1` from `1.0`, JavaScript does not. So does a tuple of equal sizes from one. */
function alike(text: string): string {
  return text.replace(/(?<![\w.])(-?\d+)\.0(?!\d)/g, "$1").replace(/\((\d+)(?:, \1)+\)/g, "$1");
}

test("layers print as PyTorch's", () => {
  const differing: [string, string, string][] = [];
  for (const row of rows) {
    const expected = prints.get(row.name);
    if (expected === undefined || row.name in CONTAINERS) continue;
    const received = String(made(row));
    if (alike(received) !== alike(expected)) differing.push([row.name, received, expected]);
  }
  assert.deepEqual(differing, []);
});

for (const [name, make] of Object.entries(CONTAINERS))
  test(`${name} prints as PyTorch's`, () => assert.equal(String(make()), prints.get(name)));
