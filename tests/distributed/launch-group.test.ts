/** Ranks that a supervisor has started, and the process group that they make. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { numbersAfter, Programs } from "./supervised.js";

const programs = new Programs("launch-group");
/** A test that takes longer hangs. */
const limit = { timeout: 240_000 };
const imports = `
import { tensor } from ${JSON.stringify(import.meta.resolve("@nbit/torch"))};
import { allReduce, clusterEnvironment, destroyProcessGroup, initProcessGroup } from ${JSON.stringify(import.meta.resolve("@nbit/torch/distributed"))};
const { rank, restartCount } = clusterEnvironment();
await initProcessGroup("gloo");
const sum = tensor([rank + 1]);
`;

test("ranks meet in the store whose socket rank 0 was given", limit, async () => {
  const { code, stdout, stderr } = await programs.launch(
    `${imports}
allReduce(sum);
console.log("sum", sum.item());
await destroyProcessGroup();
`,
    { n: 2 },
  ).ended;
  assert.equal(code, 0, stderr);
  assert.deepEqual(numbersAfter("sum", stdout), [3, 3]);
});

test("the rank that fails is blamed, not those that lose it; a restart makes a new group", limit, async () => {
  const { code, stdout, stderr } = await programs.launch(
    `${imports}
if (rank === 1 && restartCount === 0) process.kill(process.pid, "SIGKILL");
allReduce(sum);
console.log("sum", sum.item(), "restart", restartCount);
await destroyProcessGroup();
`,
    { n: 2, maxRestarts: 1 },
  ).ended;
  assert.equal(code, 0, stderr);
  assert.match(
    stderr,
    /nbit: rank 1 \(process \d+\) was ended by SIGKILL, .*; all ranks start again \(restart 1 of 1\)/,
  );
  assert.deepEqual(numbersAfter("sum", stdout), [3, 3]);
  assert.deepEqual(numbersAfter("restart", stdout), [1, 1]);
});

test("an error on one rank is the run's, although the other waits for it", limit, async () => {
  const { code, stderr } = await programs.launch(
    `${imports}
if (rank === 1) throw new RangeError("a batch of no rows");
allReduce(sum);
`,
    { n: 2 },
  ).ended;
  assert.equal(code, 1);
  const lines = stderr.trimEnd().split("\n");
  const verdict = lines.findIndex((line) => /^nbit: rank 1 \(process \d+\) ended with exit code 1/.test(line));
  assert.ok(verdict !== -1, stderr);
  const last = lines.slice(lines.findLastIndex((line) => line.startsWith("[rank 0]")) + 1);
  assert.ok(
    last.some((line) => line === "[rank 1] RangeError: a batch of no rows"),
    stderr,
  );
});
