import assert from "node:assert/strict";
import { test } from "node:test";
import { XLA_DTYPES } from "./dtypes.js";
import type { XlaBuffer } from "./buffer.js";
import type { XlaClient } from "./client.js";
import { ADD, PLAIN_ADD, SHARDED, needsCpu, openCpu, program } from "./testing/cpu.js";

const floats = async (buffer: XlaBuffer): Promise<number[]> => [...new Float32Array(await buffer.toHost())];
const vector = (client: XlaClient, ...values: number[]): Promise<XlaBuffer> =>
  client.fromHost(Float32Array.from(values), { dtype: "float32", shape: [values.length] });
const code = (expected: string) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, expected, String(error));
  return true;
};

test("a program runs, and its results are right", needsCpu, async () => {
  using client = await openCpu();
  const executable = await client.compile(ADD, { cache: null });
  assert.equal(executable.outputs, 2);
  assert.deepEqual(executable.devices, [0]);
  const [a, b] = [await vector(client, 1, 2, 3, 4), await vector(client, 10, 20, 30, 40)];
  const [c, sum] = await executable.execute([a, b]);
  assert.ok(c !== undefined && sum !== undefined);
  assert.deepEqual([c.dtype, c.shape, c.byteLength], ["float32", [4], 16]);
  assert.deepEqual([sum.dtype, sum.shape, sum.byteLength], ["float32", [], 4]);
  assert.deepEqual(await floats(c), [11, 22, 33, 44]);
  assert.deepEqual(await floats(sum), [110]);
});

test("what a program donates is gone, and says so; `keep` keeps it", needsCpu, async () => {
  using client = await openCpu();
  const executable = await client.compile(ADD, { cache: null });
  const [a, b] = [await vector(client, 1, 2, 3, 4), await vector(client, 0, 0, 0, 1)];
  const [first] = await executable.execute([a, b], { keep: [0] });
  assert.equal(a.state, "live");
  const [second] = await executable.execute([a, b]);
  assert.equal(a.state, "donated");
  assert.equal(b.state, "live");
  await assert.rejects(a.toHost(), code("XLA_BUFFER_DONATED"));
  await assert.rejects(executable.execute([a, b]), code("XLA_BUFFER_DONATED"));
  assert.ok(first !== undefined && second !== undefined);
  assert.deepEqual(await floats(first), await floats(second));
  await assert.rejects(executable.execute([second, second]), code("XLA_INVALID_ARGUMENT"));
});

test("runs begin in the order in which they are asked for, without waiting between them", needsCpu, async () => {
  using client = await openCpu();
  const executable = await client.compile(ADD, { cache: null });
  const one = await vector(client, 1, 1, 1, 1);
  let state = await vector(client, 0, 0, 0, 0);
  const sums: Promise<number[]>[] = [];
  for (let i = 0; i < 20; i++) {
    const [next, sum] = await executable.execute([state, one]);
    assert.ok(next !== undefined && sum !== undefined);
    state = next;
    sums.push(floats(sum));
  }
  assert.deepEqual(
    (await Promise.all(sums)).flat(),
    Array.from({ length: 20 }, (_, i) => 4 * (i + 1)),
  );
  assert.equal(client.stats().executions, 20);
});

test("arguments are held against the program's declaration", needsCpu, async () => {
  using client = await openCpu();
  const executable = await client.compile(PLAIN_ADD, { cache: null });
  const a = await vector(client, 1, 2, 3, 4);
  const whole = await client.fromHost(new Int32Array(4), { dtype: "int32", shape: [4] });
  const square = await client.fromHost(new Float32Array(4), { dtype: "float32", shape: [2, 2] });
  for (const args of [[a], [a, a, a], [a, whole], [a, square], []])
    await assert.rejects(executable.execute(args), code("XLA_SIGNATURE"));
  await assert.rejects(executable.execute([a, whole]), /argument 1 to be float32 \[4\]. Received: int32 \[4\]/);
  await assert.rejects(executable.executeOn([]), code("ERR_ARGUMENT"));
  await assert.rejects(executable.execute([a, a], { keep: [2] }), code("XLA_ARGUMENT"));
  using other = await openCpu();
  const foreign = await vector(other, 1, 2, 3, 4);
  await assert.rejects(executable.execute([a, foreign]), code("XLA_OTHER_CLIENT"));
});

test("every dtype goes to the device and back bit for bit", needsCpu, async () => {
  using client = await openCpu();
  const bytes = Uint8Array.from({ length: 96 }, (_, i) => i % 2);
  for (const dtype of XLA_DTYPES) {
    const probe = await client.fromHost(bytes.subarray(0, 0), { dtype, shape: [0, 3] });
    assert.deepEqual([probe.shape, probe.byteLength, probe.dtype], [[0, 3], 0, dtype]);
    assert.equal((await probe.toHost()).byteLength, 0);
    const width = /complex128/.test(dtype) ? 16 : Number(/complex64/.test(dtype) ? 8 : widthOf(dtype));
    const buffer = await client.fromHost(bytes.subarray(0, 6 * width), { dtype, shape: [2, 3] });
    assert.deepEqual(new Uint8Array(await buffer.toHost()), bytes.slice(0, 6 * width), dtype);
  }
});
const widthOf = (dtype: string): number =>
  dtype === "bool" || dtype.startsWith("float8") ? 1 : Number(/\d+/.exec(dtype)?.[0]) / 8;

test("bfloat16 is rounded once for each operator, and not kept wider", needsCpu, async () => {
  using client = await openCpu();
  // 1 + 2^-8 is 1 in bfloat16: with excess precision the difference would survive.
  const text = program(
    "%a: tensor<bf16>, %b: tensor<bf16>",
    "tensor<bf16>",
    "%c = stablehlo.add %a, %b : tensor<bf16> %d = stablehlo.subtract %c, %a : tensor<bf16> return %d : tensor<bf16>",
  );
  const executable = await client.compile(text, { cache: null });
  const scalar = (bits: number): Promise<XlaBuffer> =>
    client.fromHost(Uint16Array.of(bits), { dtype: "bfloat16", shape: [] });
  const [result] = await executable.execute([await scalar(0x3f80), await scalar(0x3b80)]);
  assert.ok(result !== undefined);
  assert.deepEqual([...new Uint16Array(await result.toHost())], [0]);
});

test("a program over two devices takes a list of arguments for each", needsCpu, async () => {
  using client = await openCpu(2);
  assert.equal(client.devices.length, 2);
  const executable = await client.compile(SHARDED, { partitions: 2, cache: null });
  assert.deepEqual(executable.devices, [0, 1]);
  const part = (device: number, ...values: number[]): Promise<XlaBuffer> =>
    client.fromHost(Float32Array.from(values), { dtype: "float32", shape: [2], device });
  const [left, right] = [await part(0, 1, 2), await part(1, 3, 4)];
  const results = await executable.executeOn([[left], [right]]);
  assert.deepEqual(await Promise.all(results.flat().map(floats)), [[10], [10]]);
  assert.deepEqual(
    results.flat().map(({ device }) => device),
    [0, 1],
  );
  await assert.rejects(executable.executeOn([[right], [left]]), code("XLA_DEVICE"));
  assert.ok(((await executable.countInstructions()).get("all-reduce") ?? 0) > 0);
});

test("what was closed or disposed of is refused, and counts go down", needsCpu, async () => {
  const client = await openCpu();
  const executable = await client.compile(PLAIN_ADD, { cache: null });
  const a = await vector(client, 1, 2, 3, 4);
  const before = client.stats();
  assert.deepEqual([before.liveBuffers, before.liveBytes, before.livePrograms], [1, 16, 1]);
  assert.deepEqual([before.bytesToDevice, before.transfersToDevice], [16, 1]);
  const running = executable.execute([a, a]);
  a.dispose();
  a.dispose();
  assert.equal(a.state, "disposed");
  assert.equal((await running).length, 2); // it was asked for before
  await assert.rejects(a.toHost(), code("XLA_BUFFER_DISPOSED"));
  await assert.rejects(executable.execute([a, a]), code("XLA_BUFFER_DISPOSED"));
  const b = await vector(client, 1, 2, 3, 4);
  const last = b.toHost();
  client.close();
  client.close();
  assert.equal((await last).byteLength, 16);
  assert.equal(b.state, "closed");
  assert.throws(() => client.stats(), code("XLA_CLOSED"));
  await assert.rejects(b.toHost(), code("XLA_CLOSED"));
  await assert.rejects(executable.execute([b, b]), code("XLA_CLOSED"));
  await assert.rejects(client.compile(ADD, { cache: null }), code("XLA_CLOSED"));
  await assert.rejects(vector(client, 1), code("XLA_CLOSED"));
});

test("the event loop goes on while a program compiles", needsCpu, async () => {
  using client = await openCpu();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await client.compile(ADD, { cache: null });
  clearInterval(timer);
  assert.ok(ticks > 3, `${ticks} ticks`);
});
