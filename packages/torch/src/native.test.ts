/**
 * The binding's own bounds: handles, the shared buffer, and every function of the addon under values that nobody should
 * give it.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as torch from "./index.js";
import { argBuffer, native, NATIVE_LIMIT } from "./native.js";
import { NbitError, Tensor, TensorList } from "./index.js";

const coded = (code: string | RegExp) => (error: unknown) =>
  error instanceof NbitError && (typeof code === "string" ? error.code === code : code.test(error.code));

test("results of any number arrive, and the buffer grows for them", () => {
  torch.scope(() => {
    const n = 3 * argBuffer.length;
    assert.equal(torch.ones([n]).unbind().length, n);
    const parts = torch.arange(n + 1).split(1);
    assert.equal(parts.length, n + 1);
    assert.equal(parts.at(-1)?.item(), n);
    assert.ok(argBuffer.length > n);
  });
});

test("lists of any length arrive, up to a limit that the error says", () => {
  torch.scope(() => {
    const x = torch.tensor([1, 2], { requiresGrad: true });
    const many = new Array<Tensor>(100_000).fill(x);
    assert.deepEqual(torch.grad(x.sum(), many).length, many.length);
    assert.deepEqual(torch.cat(many).shape, [200_000]);
    assert.deepEqual(TensorList.of(many).toArray().length, many.length);
    torch.backward(new Array<Tensor>(100_000).fill(x.sum()), null, { retainGraph: true });
    assert.deepEqual(x.grad?.tolist(), [100_000, 100_000]);
    const far = new Array<number>(Math.ceil(NATIVE_LIMIT / 3)).fill(1);
    const before = torch.memory().unreleased;
    assert.throws(
      () => torch.zeros(far),
      (error) =>
        error instanceof NbitError && error.code === "NBIT_TOO_MANY" && /at most \d{8} numbers/.test(error.message),
    );
    assert.equal(torch.memory().unreleased, before);
  });
});

test("results that do not fit are an error that leaves no handle", () => {
  torch.scope(() => {
    const before = torch.memory().unreleased;
    const x = torch.empty([2 ** 24 + 1], { dtype: "bool" });
    assert.throws(
      () => x.unbind(),
      (error) => error instanceof NbitError && /at most [\d,]{7,}|more than [\d,]{7,}/.test(error.message),
    );
    assert.equal(torch.memory().unreleased, before + 1);
  });
});

test("no constructor makes a tensor of a handle, or a list", () => {
  const x = torch.ones([2]);
  assert.deepEqual(new Tensor(2, 3).shape, [2, 3]); // sizes: PyTorch's first way to make a tensor
  assert.deepEqual(new Tensor([2, 3]).tolist(), [2, 3]);
  assert.throws(() => Reflect.construct(Tensor, ["x"]), coded("ERR_ARGUMENT"));
  assert.throws(() => Reflect.construct(Tensor, []), coded("ERR_TENSOR_CONSTRUCTOR"));
  class Mine extends Tensor {}
  for (const handle of [NaN, 0, 1, -1, 2 ** 24 + 1, "x", {}, undefined, x]) {
    assert.throws(() => Reflect.construct(Mine, [handle]), coded("ERR_TENSOR_CONSTRUCTOR"));
    assert.throws(() => Reflect.construct(Tensor, [handle], Object), coded("ERR_TENSOR_CONSTRUCTOR"));
    assert.throws(
      () => Reflect.construct(TensorList, [handle, new Float64Array([1]), true, []]),
      coded("ERR_TENSOR_CONSTRUCTOR"),
    );
  }
  assert.equal(torch.isTensor(structuredClone(Object.assign(Object.create(null) as object, { ...x }))), false);
  assert.equal("handles" in TensorList.of([x]), false);
  class Named extends torch.nn.Parameter {}
  assert.deepEqual(new Named(x).tolist(), [1, 1]);
});

test("methods and properties of an object that only has a tensor's prototype are errors with a code", () => {
  const fake = Object.create(Tensor.prototype) as Tensor;
  for (const [name, { get, set, value }] of Object.entries(Object.getOwnPropertyDescriptors(Tensor.prototype)) as [
    string,
    PropertyDescriptor,
  ][]) {
    if (["constructor", "toString"].includes(name)) continue;
    const use = (get ?? value) as (...args: unknown[]) => unknown;
    if (name === "disposed") assert.equal(fake.disposed, false);
    else
      assert.throws(
        () => Reflect.apply(use, fake, [1]) as unknown,
        (error) => error instanceof NbitError,
        name,
      );
    if (set !== undefined)
      assert.throws(
        () => Reflect.apply(set as (...args: unknown[]) => unknown, fake, [null]),
        (error) => error instanceof NbitError,
        `set ${name}`,
      );
  }
  assert.equal(String(fake), "Tensor {}");
});

test("handles that no tensor has are refused, also for release", () => {
  const x = torch.ones([2]);
  const before = torch.memory().tensors;
  for (const handle of [NaN, -1, 1.5, Infinity, 2 ** 24 + 1, 2 ** 52, 2 ** 53, 5, -0, Number.MIN_VALUE]) {
    native.release(handle);
    assert.equal(native.alive(handle), false);
    assert.throws(() => native.dtypeOf(handle), coded(/TENSOR_(HANDLE|DISPOSED|FOREIGN)/));
  }
  assert.equal(torch.memory().tensors, before);
  assert.deepEqual(x.tolist(), [1, 1]);
});

test("messages that say more than was written, or nothing, are refused", () => {
  const add = native.compileOp("aten::add", "Tensor");
  const handle = native.fromBytes(...bytesOf());
  for (const header of [NaN, 0, -1, 1, 2, 3, 4, 1e9, Infinity]) {
    argBuffer.set([header, add, handle, handle, 0, 1]);
    assert.throws(
      () => native.call(),
      (error) => error instanceof NbitError,
      String(header),
    );
  }
  argBuffer.set([6, add, handle, handle, 0, 1]);
  native.call();
  const sum = argBuffer[0] as number;
  assert.equal(native.alive(sum), true);
  const cat = native.compileOp("aten::cat", "");
  for (const count of [NaN, -2, 0.5, 3, 1e15, Infinity]) {
    argBuffer.set([6, cat, count, handle, handle, 0]);
    assert.throws(
      () => native.call(),
      (error) => error instanceof NbitError,
      String(count),
    );
  }
  for (const n of [-1, 2 ** 40, NaN, Infinity]) {
    assert.throws(
      () => native.releaseMany(n),
      (error) => error instanceof NbitError,
    );
    assert.throws(
      () => native.gradsInto(n),
      (error) => error instanceof NbitError,
    );
    assert.throws(
      () => native.clearGrads(n),
      (error) => error instanceof NbitError,
    );
    assert.throws(
      () => native.linkGrads(n, true),
      (error) => error instanceof NbitError,
    );
    assert.throws(
      () => native.countSteps(n),
      (error) => error instanceof NbitError,
    );
  }
  native.release(sum);
  native.release(handle);
});

function bytesOf(): [Float32Array, number, number] {
  argBuffer.set([3, 1, 2]);
  return [new Float32Array([1, 2]), 6, 1];
}

test("the buffer that native writes to stays, whatever becomes of JavaScript's view", () => {
  const code = `
    import * as torch from ${JSON.stringify(new URL("./index.js", import.meta.url).href)};
    import { argBuffer, native } from ${JSON.stringify(new URL("./native.js", import.meta.url).href)};
    const x = torch.ones([2]);
    try { structuredClone(argBuffer.buffer, { transfer: [argBuffer.buffer] }); } catch {}
    try { argBuffer.buffer.transfer?.(); } catch {}
    for (let i = 0; i < 3; i++) { try { x.add(1); } catch {} try { native.meta(1); } catch {} try { x.shape; } catch {} try { native.allocatorStats(); } catch {} }
    process.stdout.write("alive");
  `;
  const { stdout, status } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
  assert.deepEqual([stdout, status], ["alive", 0]);
});

test("every function of the addon takes any values: a result, or an error with a code", { timeout: 120_000 }, () => {
  for (const seed of [1, 2, 3]) {
    const { stdout, stderr, status, signal } = spawnSync(
      process.execPath,
      [fileURLToPath(new URL("./testing/raw-calls.js", import.meta.url)), String(seed), "4000"],
      { encoding: "utf8" },
    );
    assert.deepEqual([status, signal], [0, null], `seed ${seed}: ${stdout.slice(-300)} ${stderr.slice(-600)}`);
    assert.match(stdout, /^calls 4000, values \d{3,}, errors \d{3,}, uncoded 0\n$/);
  }
});
