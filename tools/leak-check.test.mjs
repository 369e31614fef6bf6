import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { root } from "./workspace.mjs";

const flag = `--import=${new URL("leak-check.mjs", import.meta.url).href}`;
mkdirSync(join(root, "build"), { recursive: true });
const folder = mkdtempSync(join(root, "build", "leaks-")); // where @nbit/torch is found
after(() => rmSync(folder, { recursive: true }));

/** Runs a test file of this code as `npm test` does. */
function run(code, name = "small.test.mjs") {
  const file = join(folder, name);
  writeFileSync(file, `import { after, test } from "node:test";\n${code}\n`);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { status, stdout } = spawnSync(process.execPath, [flag, "--test", "--test-reporter=tap", file], {
    cwd: root,
    env,
    encoding: "utf8",
  });
  const findings = stdout
    .split("\n")
    .filter((line) => line.startsWith("#   "))
    .map((line) => line.slice(4));
  return { status, stdout, findings };
}

test("every file of npm test is watched", () => {
  assert.ok(process.execArgv.includes(flag), "run this file by: npm test -- leak-check");
});

test("a file that takes its listeners back and frees its tensors passes, whatever it still holds", () => {
  const result = run(`
    import { ones, scope, nn, ReentrantScope, TensorList } from "@nbit/torch";
    const listener = () => undefined;
    const held = [ones([4]), new nn.Linear(2, 2)];
    after(() => process.off("warning", listener));
    test("clean", async () => {
      process.on("warning", listener);
      process.once("SIGUSR2", listener).off("SIGUSR2", listener);
      scope(() => ones([2]).add(1));
      for (let i = 0; i < 100; i++) ones([2, 2]);
      const entered = new ReentrantScope();
      entered.run(() => ones([3]));
      await new Promise((resolve) => setTimeout(resolve));
      entered.run(() => ones([3]));
      entered.close();
      held[1].forward(ones([1, 2])).sum().backward();
      TensorList.gradsOf(TensorList.of([...held[1].parameters()])).dispose();
    });`);
  assert.equal(result.status, 0, result.stdout);
  assert.doesNotMatch(result.stdout, /leak check/);
});

test("a listener that stays fails the file, by its event", () => {
  const result = run(`
    function known() {}
    process.on("warning", known);
    test("leaks", () => {
      process.on("warning", known);
      process.once("SIGUSR2", function whenAsked() {});
      process.stderr.on("drain", () => "late");
    });`);
  assert.equal(result.status, 1);
  assert.match(result.stdout, /^ok 1 - leaks$/m);
  assert.match(result.stdout, /^# leak check: .*small\.test\.mjs$/m);
  assert.deepEqual(result.findings, [
    'process.on("warning", …) was never taken back: function known() {}',
    'process.on("warning", …) was never taken back: function known() {}',
    'process.on("SIGUSR2", …) was never taken back: function whenAsked() {}',
    'process.stderr.on("drain", …) was never taken back: () => "late"',
  ]);
});

test("tensors that nothing can free fail the file, by dtype and shape", () => {
  const result = run(`
    import { ones, nn, ReentrantScope, TensorList } from "@nbit/torch";
    const layer = new nn.Linear(2, 3);
    test("leaks", () => {
      const entered = new ReentrantScope();
      for (let i = 0; i < 2; i++) entered.run(() => ones([2, 3], { dtype: "int64" }));
      layer.forward(ones([1, 2])).sum().backward();
      TensorList.gradsOf(TensorList.of([...layer.parameters()]));
    });`);
  assert.equal(result.status, 1);
  assert.match(result.stdout, /^ok 1 - leaks$/m);
  assert.match(result.stdout, /^# leak check: .*small\.test\.mjs$/m);
  assert.deepEqual(result.findings, [
    "2 tensors that nothing will ever free: int64 [2, 3] on cpu",
    "1 tensor that nothing will ever free: float32 [3, 2] on cpu",
    "1 tensor that nothing will ever free: float32 [3] on cpu",
  ]);
});

test("a hook that keeps its own tensor fails the file, one that does not is collected", () => {
  const code = (hook) => `
    import { ones } from "@nbit/torch";
    test("leaks", () => {
      for (let i = 0; i < 3; i++) {
        const x = ones([2], { requiresGrad: true });
        x.registerHook(${hook});
        x.sum().backward();
      }
    });`;
  const bad = run(code("(g) => g.add(x)"));
  assert.equal(bad.status, 1);
  assert.deepEqual(bad.findings, [
    "3 hooks and backward functions that are never collected, with all tensors that they refer to",
  ]);
  const good = run(code("(g) => g.add(1)"));
  assert.equal(good.status, 0, good.stdout);
});

test("only a test file is watched, and what loads no libtorch loads none for it", () => {
  const code = `
    import { readFileSync } from "node:fs";
    import assert from "node:assert/strict";
    process.on("warning", () => undefined); // only to see whether the file is watched
    test("small", () => assert.doesNotMatch(readFileSync("/proc/self/maps", "latin1"), /libtorch|nbit\\.node/));`;
  const watched = run(code);
  assert.match(watched.stdout, /^ok 1 - small$/m);
  assert.equal(watched.findings.length, 1, watched.stdout);
  const other = run(code, "worker.mjs");
  assert.equal(other.status, 0, other.stdout);
});
