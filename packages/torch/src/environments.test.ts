/**
 * One library for many: worker threads that come and go, vm contexts on one thread, further copies of the packages.
 * Each has tensors of its own.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import * as torch from "./index.js";
import { native } from "./native.js";

const index = new URL("./index.js", import.meta.url).href;
const internal = new URL("./native.js", import.meta.url).href;

/** A worker with `torch` and `native`; `code` may post messages. */
function worker(code: string, data: unknown = null): Worker {
  const program = `
    const { parentPort, workerData } = require("node:worker_threads");
    (async () => {
      const torch = await import(${JSON.stringify(index)});
      const { native } = await import(${JSON.stringify(internal)});
      const post = (value) => parentPort.postMessage(value);
      ${code}
    })().catch((error) => parentPort.postMessage({ failed: String(error && error.stack || error) }));
  `;
  return new Worker(program, { eval: true, workerData: data });
}
function answer(of: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    of.once("message", resolve);
    of.once("error", reject);
  });
}
async function ask(code: string, data: unknown = null): Promise<unknown> {
  const one = worker(code, data);
  try {
    return await answer(one);
  } finally {
    await one.terminate();
  }
}

/** The same small training, written for any thread. */
const TRAIN = `
  const generator = new torch.Generator().manualSeed(3);
  const x = torch.randn([8, 4], { generator });
  const y = torch.randn([8, 1], { generator });
  const layer = new torch.nn.Linear(4, 1);
  torch.noGrad(() => { layer.weight.fill_(0.5); layer.bias.fill_(0); });
  const optimizer = new torch.optim.AdamW(layer.parameters(), { lr: 0.1 });
  const losses = [];
  for (let i = 0; i < 5; i++) {
    losses.push(torch.scope(() => {
      optimizer.zeroGrad();
      const loss = torch.mseLoss(layer.forward(x), y);
      loss.backward();
      optimizer.step();
      return loss.item();
    }));
  }
`;

test("a worker thread computes what the main thread computes, with tensors of its own", async () => {
  const losses = await ask(`${TRAIN} post(losses);`);
  const own = new Function("torch", `${TRAIN} return losses;`) as (t: typeof torch) => number[];
  assert.deepEqual(losses, own(torch));
  assert.equal((losses as number[]).length, 5);
});

test("a tensor of another thread is an error that says so, whatever is done with its number", async () => {
  const x = torch.ones([2]);
  const handle = native.fromBytes(...message());
  const codes = await ask(
    `
    const mine = torch.ones([2]);
    const codes = [];
    const attempt = (fn) => { try { fn(); codes.push("none"); } catch (error) { codes.push(error.code); } };
    attempt(() => native.meta(workerData));
    attempt(() => native.getGrad(workerData));
    attempt(() => native.toBytes(workerData));
    attempt(() => native.setData(workerData, workerData));
    native.release(workerData);
    codes.push(native.alive(workerData), mine.tolist());
    post(codes);`,
    handle,
  );
  assert.deepEqual(codes, ["TENSOR_FOREIGN", "TENSOR_FOREIGN", "TENSOR_FOREIGN", "TENSOR_FOREIGN", false, [1, 1]]);
  assert.equal(native.alive(handle), true);
  assert.deepEqual(x.tolist(), [1, 1]);
  native.release(handle);
});

function message(): [Float32Array, number, number] {
  torch.tensorFromBytes(new Uint8Array(8), "float32", [2]).dispose(); // leaves the sizes [2] behind as the message
  return [new Float32Array([1, 2]), 6, 1];
}

test(
  "fifty workers start and end, some in the middle of a call, and leave nothing behind",
  { timeout: 120_000 },
  async () => {
    const before = torch.memory();
    const endless = `
    const x = torch.ones([64, 64], { requiresGrad: true });
    x.registerHook((g) => g.mul(1));
    class Twice extends torch.AutogradFunction {
      static forward(ctx, a) { ctx.saveForBackward(a); return a.mul(2); }
      static backward(ctx, g) { torch.ones([16]).add(1); return g.mul(2); }
    }
    const kept = Array.from({ length: 100 }, () => torch.ones([1000]));
    post(kept.length);
    for (;;) { Twice.apply(x).sum().backward(); torch.ones([5000]).unbind(); }
  `;
    for (let round = 0; round < 5; round++) {
      const workers = Array.from({ length: 10 }, (_, i) =>
        worker(i % 2 === 0 ? endless : `${TRAIN} post(losses.length);`),
      );
      const answers = await Promise.all(workers.map(answer));
      assert.deepEqual(
        answers,
        Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? 100 : 5)),
      );
      await Promise.all(workers.map((one) => one.terminate()));
    }
    const after = torch.memory();
    assert.equal(after.unreleased, before.unreleased);
    assert.ok(after.bytes <= before.bytes, `${after.bytes} bytes, ${before.bytes} before`); // the collector may have come by
    assert.equal(torch.ones([2]).sum().item(), 2);
  },
);

test("threads trace, warn, seed and set modes for themselves", async () => {
  const seen: string[] = [];
  const listener = (warning: Error): void => void seen.push(warning.message);
  process.on("warning", listener);
  const before = torch.setGradEnabled(false);
  const report = await ask(`
    const warned = new Promise((resolve) => process.once("warning", (w) => resolve(w.message)));
    torch.add(torch.ones([3]), 1, { out: torch.ones([2]) });
    const names = torch.traceOperators(() => torch.ones([3]).mul(2)).events.map((e) => e.name);
    post({ grad: torch.isGradEnabled(), mul: names.includes("aten::mul"), warned: await warned });
  `);
  process.off("warning", listener);
  assert.equal(torch.setGradEnabled(before), false);
  assert.deepEqual(
    { ...(report as object), warned: /resized/.test((report as { warned: string }).warned) },
    { grad: true, mul: true, warned: true },
  );
  assert.deepEqual(
    seen.filter((m) => /resized/.test(m)),
    [],
  );
});

test("vm contexts on one thread load the library each for itself, as a test runner's files do", () => {
  const code = `
    import assert from "node:assert/strict";
    import { makeRealm } from ${JSON.stringify(new URL("./testing/contexts.js", import.meta.url).href)};
    import * as outer from ${JSON.stringify(index)};
    const same = (a, b) => assert.equal(JSON.stringify(a), JSON.stringify(b)); // arrays of several realms
    const realms = [];
    for (let i = 0; i < 3; i++) {
      const realm = makeRealm();
      realms.push({ realm, torch: await realm.load(${JSON.stringify(index)}) });
    }
    const all = [outer, ...realms.map((r) => r.torch)];
    assert.equal(new Set(all.map((t) => t.Tensor)).size, 4);
    const leaves = all.map((t, i) => t.tensor([1, 2, i], { requiresGrad: true }));
    for (let round = 0; round < 3; round++) all.forEach((t, i) => leaves[i].mul(leaves[i]).sum().backward());
    same(leaves.map((x) => x.grad.tolist()), all.map((_, i) => [6, 12, 6 * i]));
    // A backward of one calls another's operators.
    const [a, b] = [realms[0].torch, realms[1].torch];
    class Calls extends a.AutogradFunction {
      static forward(ctx, x) { return x.mul(2); }
      static backward(ctx, g) { const inner = b.ones([2], { requiresGrad: true }); b.enableGrad(() => inner.mul(3).sum().backward()); return g.mul(inner.grad.sum().item()); }
    }
    const x = a.ones([2], { requiresGrad: true });
    Calls.apply(x).sum().backward();
    same(x.grad.tolist(), [6, 6]);
    // A tensor of another context is none here, and errors are of the context's own classes.
    assert.equal(a.isTensor(b.ones([1])), false);
    assert.throws(() => a.ones([1]).add(b.ones([1])), (error) => error instanceof a.ArgumentError);
    assert.throws(() => b.ones([2]).add(b.ones([3])), (error) => error instanceof b.TorchError && !(error instanceof a.TorchError));
    // Values of either realm are taken by either.
    for (const { realm, torch } of realms) {
      same(torch.tensor(new Float32Array([1, 2])).tolist(), [1, 2]);
      same(torch.tensorFromBytes(new Uint8Array([1, 2]).buffer, "uint8", [2]).tolist(), [1, 2]);
      same(torch.ones([1]).toTypedArray() instanceof realm.run("Float32Array"), true);
      same(outer.tensor(realm.run("new Float64Array([1, 2])")).tolist(), [1, 2]);
      assert.equal(outer.zeros(realm.run("[2, 3]"), realm.run("({ dtype: 'float64' })")).dtype, "float64");
      assert.equal(outer.defaultCollate([realm.run("new Map([['x', 1]])")]).get("x").tolist()[0], 1);
    }
    const counts = all.map((t) => t.memory().tensors);
    assert.ok(counts.every((n) => n > 0 && n < 40), counts.join());
    process.stdout.write("done");
  `;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ["--experimental-vm-modules", "--no-warnings", "--input-type=module", "-e", code],
    { encoding: "utf8" },
  );
  assert.deepEqual([stdout, status], ["done", 0], stderr.slice(-1500));
});

/** A folder with copies of the packages; `change` alters the addon's bytes, as another build would. */
function copies(change: boolean): { readonly folder: string; readonly url: string } {
  const folder = mkdtempSync(join(tmpdir(), "nbit-copies-"));
  const place = join(folder, "node_modules", "@nbit");
  mkdirSync(place, { recursive: true });
  const here = dirname(dirname(fileURLToPath(import.meta.url)));
  const nativeHere = dirname(dirname(fileURLToPath(import.meta.resolve("@nbit/native"))));
  for (const part of ["package.json", "dist"])
    cpSync(join(here, part), join(place, "torch", part), { recursive: true });
  for (const part of ["package.json", "lib"])
    cpSync(join(nativeHere, part), join(place, "native", part), { recursive: true });
  if (existsSync(join(nativeHere, "build")))
    cpSync(join(nativeHere, "build"), join(place, "native", "build"), { recursive: true, dereference: true });
  if (change) writeFileSync(join(place, "native", "build", "nbit.node"), "\0", { flag: "a" });
  const modules = join(nativeHere, "..", "..", "node_modules", "node-api-headers");
  if (existsSync(modules)) symlinkSync(modules, join(folder, "node_modules", "node-api-headers"));
  return { folder, url: pathToFileURL(join(place, "torch", "dist", "index.js")).href };
}

for (const change of [false, true]) {
  test(`a second copy of the packages ${change ? "with another build is refused by name" : "works beside the first"}`, () => {
    const { folder, url } = copies(change);
    try {
      const code = `
        const first = await import(${JSON.stringify(index)});
        const mine = first.ones([3]);
        let said = "";
        try {
          const second = await import(${JSON.stringify(url)});
          said = JSON.stringify(second.tensor([1, 2]).add(mine.sum().item()).tolist());
        } catch (error) {
          said = error.code + (/second copy/.test(error.message) && error.message.includes("nbit.node") ? " says which" : error.message);
        }
        process.stdout.write(said + " " + JSON.stringify(mine.add(1).tolist()));
      `;
      const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
        encoding: "utf8",
      });
      assert.deepEqual(
        [stdout, status],
        [change ? "NBIT_SECOND_COPY says which [2,2,2]" : "[4,5] [2,2,2]", 0],
        stderr.slice(-800),
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
