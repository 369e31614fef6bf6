import assert from "node:assert/strict";
import { test } from "node:test";
import {
  anyRecord,
  conforming,
  count,
  fieldsOf,
  finite,
  flag,
  listOf,
  oneOf,
  optional,
  ordered,
  orNull,
  recordOf,
  text,
  type Fault,
} from "./schema.js";

const run = fieldsOf({
  name: text,
  steps: count,
  rate: finite,
  best: ordered,
  done: optional(flag),
  mode: oneOf("min", "max"),
  epochs: listOf(fieldsOf({ loss: finite })),
  metrics: recordOf(orNull(finite)),
  rest: anyRecord,
});
const good = {
  name: "a",
  steps: 3,
  rate: 0.1,
  best: Infinity,
  mode: "min",
  epochs: [{ loss: 1 }],
  metrics: { acc: 1, none: null },
  rest: { x: [] },
  another: () => 1,
};

function faultOf(change: Readonly<Record<string, unknown>>): Fault {
  let found: Fault | null = null;
  assert.throws(() =>
    conforming(run, { ...good, ...change }, "", (fault) => {
      found = fault;
      return new Error("no");
    }),
  );
  assert.ok(found !== null);
  return found;
}

test("a value that conforms is returned itself", () => {
  assert.equal(
    conforming(run, good, "run", () => new Error()),
    good,
  );
});

test("an object of a class has fields, too", () => {
  class Made {
    readonly name = "a";
  }
  assert.ok(conforming(fieldsOf({ name: text }), new Made(), "", () => new Error()) instanceof Made);
  assert.throws(() => conforming(recordOf(text), new Made(), "", ({ expected }) => new Error(expected)), {
    message: "an object",
  });
});

test("a fault names its place", () => {
  const cases: readonly (readonly [Readonly<Record<string, unknown>>, string])[] = [
    [{ name: 1 }, "name"],
    [{ steps: -1 }, "steps"],
    [{ steps: 1.5 }, "steps"],
    [{ steps: NaN }, "steps"],
    [{ steps: 2 ** 53 }, "steps"],
    [{ steps: "3" }, "steps"],
    [{ rate: Infinity }, "rate"],
    [{ best: NaN }, "best"],
    [{ done: 0 }, "done"],
    [{ mode: "mean" }, "mode"],
    [{ mode: ["min"] }, "mode"],
    [{ epochs: {} }, "epochs"],
    [{ epochs: [{ loss: 1 }, { loss: null }] }, "epochs[1].loss"],
    [{ epochs: [7] }, "epochs[0]"],
    [{ metrics: { a: 1, b: "2" } }, "metrics.b"],
    [{ metrics: [] }, "metrics"],
    [{ metrics: new Map() }, "metrics"],
    [{ rest: null }, "rest"],
  ];
  for (const [change, path] of cases) assert.equal(faultOf(change).path, path);
  assert.deepEqual(faultOf({ steps: NaN }), {
    path: "steps",
    expected: "a whole number from 0 to 2^53 - 1",
    received: NaN,
  });
});

test("fields are the object's own", () => {
  // A file may well have a field named __proto__; nothing is inherited of it.
  const forged = Object.fromEntries([
    ["__proto__", { name: "a" }],
    ...Object.entries(good).filter(([key]) => key !== "name"),
  ]);
  assert.throws(() => conforming(run, forged, "", ({ path }) => new Error(path)), { message: "name" });
  assert.throws(() => conforming(fieldsOf({ toString: anyRecord }), {}, "", ({ path }) => new Error(path)), {
    message: "toString",
  });
});
