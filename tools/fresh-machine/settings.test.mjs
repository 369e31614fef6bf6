import assert from "node:assert/strict";
import { test } from "node:test";
import { localPaths, parsePipList, pipFile } from "./settings.mjs";

test("pip's settings become one file, whichever of its files and variables they come from", () => {
  const listed = [
    ":env:.timeout='9'",
    "global.index-url='https://packages.example/simple'",
    "global.extra-index-url='\\nhttps://one.example/simple\\nfile:///srv/two/simple'",
    "install.user='true'",
    "WARNING: something else",
  ].join("\n");
  assert.equal(
    pipFile(parsePipList(listed)),
    `[global]
timeout = 9
index-url = https://packages.example/simple
extra-index-url = https://one.example/simple
    file:///srv/two/simple
user = true
`,
  );
});

test("what a setting names on this machine is mounted: an index with its files", () => {
  const value = "https://one.example/simple file:///srv/two/simple/ /srv/wheels constraints.txt";
  assert.deepEqual(localPaths(value), ["/srv/two", "/srv/wheels"]);
});
