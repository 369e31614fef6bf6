/**
 * Runs the compiled tests: `npm test`, `npm test -- lightning` (paths that contain a word), `npm test --
 * --test-name-pattern=…` (flags go to Node).
 *
 * Every file runs in a process of its own, as many at a time as there are cores, with one libtorch thread each: sums
 * are added up in the same order on every machine, and files do not fight for cores. A test that is about threads sets
 * their number itself.
 */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { sourceOf } from "./typescript.mjs";
import { filesBelow, fromRoot, root, workspaces } from "./workspace.mjs";

const HANG_MS = 20 * 60_000;
const flags = process.argv.slice(2).filter((arg) => arg.startsWith("-"));
const words = process.argv.slice(2).filter((arg) => !arg.startsWith("-"));

const compiled = workspaces().flatMap(({ source, dist }) =>
  filesBelow(dist, (name) => name.endsWith(".test.js"), []).filter((file) => sourceOf(file, source, dist) !== null),
);
const plain = [
  ...["tools", "site"].flatMap((name) => filesBelow(join(root, name), isPlainTest)),
  ...["native", "xla"].flatMap((name) => filesBelow(join(root, "packages", name, "lib"), isPlainTest)),
];
const files = [...compiled, ...plain].map(fromRoot).filter((file) => words.every((word) => file.includes(word)));

function isPlainTest(name) {
  return name.endsWith(".test.mjs");
}

if (files.length === 0) {
  console.error(`npm test: no test file${words.length > 0 ? ` whose path contains ${words.join(" and ")}` : ""}.`);
  process.exit(1);
}

mkdirSync(join(root, "build"), { recursive: true });
const args = [
  `--import=${new URL("leak-check.mjs", import.meta.url).href}`,
  "--test",
  `--test-concurrency=${availableParallelism()}`,
  `--test-timeout=${HANG_MS}`,
  "--test-reporter=spec",
  "--test-reporter-destination=stdout",
  "--test-reporter=tap", // for .ci/run, which counts
  `--test-reporter-destination=${join("build", "tests.tap")}`,
  ...flags,
  ...files,
];
const child = spawn(process.execPath, args, {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, OMP_NUM_THREADS: process.env["OMP_NUM_THREADS"] ?? "1" },
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
child.on("close", (status, signal) => process.exit(status ?? (signal === "SIGINT" ? 130 : 1)));
