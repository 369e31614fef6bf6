import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { cycleFault, cycles, fault } from "./boundaries.mjs";
import { workspaces } from "./workspace.mjs";

const workspace = (name) => workspaces().find((w) => w.name === name);
const inside = (name, specifier, file = "src/deep/x.ts") =>
  fault(workspace(name), join(workspace(name).folder, file), specifier);

test("imports up the list are allowed", () => {
  assert.equal(inside("@nbit/torch", "@nbit/native"), null);
  assert.equal(inside("@nbit/lightning", "@nbit/apex"), null);
  assert.equal(inside("nbit", "@nbit/native/doctor"), null);
  assert.equal(inside("nbit-examples", "@nbit/lightning", "a/x.ts"), null);
  assert.equal(inside("@nbit/torch", "../other.js"), null);
  assert.equal(inside("@nbit/torch", "node:fs"), null);
});

test("imports down or across the list are refused, with what is allowed", () => {
  assert.equal(inside("@nbit/torch", "@nbit/lightning"), "packages/torch may import @nbit/native");
  assert.equal(inside("@nbit/apex", "@nbit/lowbit"), "packages/apex may import @nbit/torch");
  assert.equal(
    inside("@nbit/lightning", "@nbit/native"),
    "packages/lightning may import @nbit/torch, @nbit/apex, @nbit/lowbit, @nbit/xla, @nbit/metrics",
  );
  assert.equal(
    inside("@nbit/dashboard", "@nbit/torch"),
    "packages/dashboard may import @nbit/native/precisions, @nbit/torch/files, @nbit/torch/format, @nbit/torch/options, @nbit/torch/schema",
  );
  assert.equal(inside("@nbit/dashboard", "@nbit/torch/files"), null);
  assert.match(inside("nbit-examples", "@nbit/native", "a/x.ts"), /^examples may import /);
});

test("the inside of another package is out of reach", () => {
  assert.equal(
    inside("@nbit/lightning", "@nbit/torch/dist/optim/sgd.js"),
    "@nbit/torch/dist/optim/sgd.js is not exported by @nbit/torch",
  );
  assert.equal(
    inside("@nbit/torch", "../../../native/lib/index.mjs"),
    "a relative import leaves the package: use its public name",
  );
});

test("foreign packages must be dependencies, Node's own have their prefix", () => {
  assert.equal(inside("@nbit/torch", "left-pad"), "left-pad is not a dependency in packages/torch/package.json");
  assert.equal(inside("@nbit/torch", "fs"), "a module of Node.js is imported as node:fs");
  assert.equal(inside("@nbit/torch", "fast-check"), "fast-check is not a dependency in packages/torch/package.json");
  assert.equal(inside("@nbit/torch", "fast-check", "src/x.test.ts"), null);
});

test("cycles are found, of two files and of many, each once; what only leads into one is not in it", () => {
  const graph = new Map([
    ["main", ["a", "help"]],
    ["a", ["b"]],
    ["b", ["c"]],
    ["c", ["a", "leaf"]],
    ["leaf", []],
    ["help", ["index"]],
    ["index", ["help", "leaf"]],
    ["self", ["self"]],
  ]);
  assert.deepEqual(cycles(graph), [["a", "b", "c"], ["help", "index"], ["self"]]);
  assert.deepEqual(
    cycles(
      new Map([
        ["a", ["b", "c"]],
        ["b", ["c"]],
        ["c", ["gone"]],
      ]),
    ),
    [],
  );
});

test("the core may be a cycle, and no file may join it", () => {
  const core = new Set(["tensor", "ops"]);
  assert.equal(cycleFault(["ops", "tensor"], core), null);
  assert.match(
    cycleFault(["nn", "ops", "tensor"], core),
    /^a cycle of imports: nn joined the core of tensors and operators\./,
  );
  assert.match(cycleFault(["a", "b"], core), /^a cycle of imports: a, b\. Move what two files share/);
});
