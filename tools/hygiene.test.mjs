import assert from "node:assert/strict";
import { test } from "node:test";
import { inspectText } from "./hygiene.mjs";

const home = ["", "home", "somebody", "data"].join("/"); // spelled so that this file passes its own check

test("finds machine paths, addresses and registry hosts, with their lines", () => {
  assert.deepEqual(inspectText("a.ts", `one\nread("${home}")`), [[2, "a path of one machine"]]);
  assert.deepEqual(inspectText("a.md", `at ${["192", "168", "0", "7"].join(".")}`), [[1, "an address"]]);
  assert.deepEqual(inspectText("package-lock.json", '"resolved": "https://registry.example/a.tgz"'), [
    [1, "a registry's host in the lock file"],
  ]);
  assert.deepEqual(inspectText("a.md", "from mirror.example.net", ["mirror.example.net"]), [
    [1, "a name of this machine or its registries"],
  ]);
});

test("leaves ordinary text alone", () => {
  for (const text of [
    "http://127.0.0.1:8080",
    "packages/native/work/x",
    "version 2.13.0",
    '"resolved": "packages/apex"',
    "${home}/root/x",
  ])
    assert.deepEqual(inspectText("package-lock.json", text), [], text);
});
