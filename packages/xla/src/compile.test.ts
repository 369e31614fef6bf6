import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { ExecutableCache } from "./cache.js";
import { compileOptions, encodeCompileOptions } from "./compile-options.js";
import { countInstructions } from "./hlo.js";
import { XlaPlugin } from "./plugin.js";
import { fieldsOf, ProtoWriter } from "./proto.js";
import { argumentsOf } from "./signature.js";
import { ADD, PLAIN_ADD, SHARDED, cpuPath, needsCpu, openCpu, program } from "./testing/cpu.js";

const code = (expected: string, words?: RegExp) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, expected, String(error));
  if (words !== undefined) assert.match(String(error), words);
  return true;
};
function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "nbit-xla-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test("what is written is what is read", () => {
  const message = new ProtoWriter()
    .whole(1, -1)
    .text(2, "añ")
    .message(3, new ProtoWriter().whole(15, 300))
    .double(4, 0.5);
  const fields = [...fieldsOf(message.done())];
  assert.deepEqual(
    fields.map(({ field }) => field),
    [1, 2, 3, 4],
  );
  assert.equal(BigInt.asIntN(64, fields[0]?.value as bigint), -1n);
  assert.equal(new TextDecoder().decode(fields[1]?.value as Uint8Array), "añ");
  assert.deepEqual([...fieldsOf(fields[2]?.value as Uint8Array)], [{ field: 15, value: 300n }]);
  assert.equal(fields[3]?.value, 0x3fe0000000000000n);
  for (const bad of [[0x0a, 5, 1], [0x80], [0x0b], [0x09, 1, 2]])
    assert.throws(() => [...fieldsOf(Uint8Array.from(bad))], RangeError);
});

test("options become the message that XLA reads", () => {
  const filled = compileOptions("f", { partitions: 2, devices: [3, 1], debugOptions: { b: 1.5, a: "x", c: 7 } });
  const top = [...fieldsOf(encodeCompileOptions(filled, [30, 10]))];
  assert.deepEqual(
    top.map(({ field }) => field),
    [3, 7, 7, 7, 7],
  );
  const build = [...fieldsOf(top[0]?.value as Uint8Array)];
  assert.deepEqual(
    build.slice(0, 4).map(({ field, value }) => [field, BigInt.asIntN(64, value as bigint)]),
    [
      [1, -1n],
      [4, 1n],
      [5, 2n],
      [6, 1n],
    ],
  );
  const names = top
    .slice(1)
    .map(({ value }) => new TextDecoder().decode([...fieldsOf(value as Uint8Array)][0]?.value as Uint8Array));
  assert.deepEqual(names, ["a", "b", "c", "xla_allow_excess_precision"]);
  assert.throws(
    () => compileOptions("f", { partitions: 2, devices: [1, 1] }),
    code("ERR_ARGUMENT", /2 different places/),
  );
  assert.throws(() => compileOptions("f", { debugOptions: { a: NaN } }), code("ERR_ARGUMENT", /debugOptions\.a/));
  assert.throws(() => compileOptions("f", { partition: 2 } as never), code("ERR_ARGUMENT", /partitions/));
});

test("the signature of main is read from its text", () => {
  assert.deepEqual(argumentsOf(ADD), [
    { dtype: "float32", shape: [4] },
    { dtype: "float32", shape: [4] },
  ]);
  assert.deepEqual(argumentsOf(SHARDED), [{ dtype: "float32", shape: [4] }]);
  const odd = '%arg0: tensor<bf16> {a = "),%x: \\"tensor<f32>"} loc("f"), %arg1: tensor<2x3xui8>';
  assert.deepEqual(argumentsOf(program(odd, "", "")), [
    { dtype: "bfloat16", shape: [] },
    { dtype: "uint8", shape: [2, 3] },
  ]);
  assert.deepEqual(argumentsOf(program("", "", "")), []);
  for (const unknown of ["%a: tensor<?xf32>", "%a: tensor<4xi4>", "%a: !stablehlo.token"])
    assert.equal(argumentsOf(program(unknown, "", "")), null);
  assert.equal(argumentsOf("module {}"), null);
});

test("a compiler's refusal is an XlaError with its words", needsCpu, async () => {
  using client = await openCpu();
  await assert.rejects(
    client.compile("garbage", { cache: null }),
    code("XLA_UNKNOWN", /custom op 'garbage' is unknown/),
  );
  await assert.rejects(
    client.compile(ADD, { cache: null, debugOptions: { xla_no_such_flag: true } }),
    code("XLA_INVALID_ARGUMENT", /xla_no_such_flag/),
  );
  await assert.rejects(client.compile(ADD, { cache: null, partitions: 2 }), code("ERR_ARGUMENT", /device below 1/));
  await assert.rejects(client.compile("", { cache: null }), code("ERR_ARGUMENT"));
  await assert.rejects(client.compile(ADD, { cach: null } as never), code("ERR_ARGUMENT", /cache/));
});

test("a compiler tells memory, cost and the optimized program", needsCpu, async () => {
  using client = await openCpu();
  const executable = await client.compile(ADD, { cache: null });
  const { memory, flops, bytesAccessed, costs, partitions, name, fingerprint } = await executable.analyse();
  assert.deepEqual([memory?.arguments, memory?.outputs, memory?.aliased], [32, 36, 16]);
  assert.ok((memory?.peak ?? 0) >= 32);
  assert.equal(flops, 7);
  assert.ok((bytesAccessed ?? 0) >= 36);
  assert.ok(costs.size > 2);
  assert.deepEqual([partitions, name], [1, "test"]);
  assert.match(fingerprint ?? "", /^\S+$/);
  const { format, bytes } = await executable.optimizedProgram();
  assert.equal(format, "hlo_with_config");
  const counts = await executable.countInstructions();
  assert.ok((counts.get("parameter") ?? 0) >= 2);
  assert.ok((counts.get("add") ?? 0) >= 1);
  assert.throws(() => countInstructions(new Uint8Array(bytes).subarray(0, 40), format), code("XLA_PROGRAM_FORMAT"));
  assert.throws(() => countInstructions(new Uint8Array(), "text"), code("XLA_PROGRAM_FORMAT"));
});

test("a topology compiles without running", needsCpu, async () => {
  const plugin = await XlaPlugin.load(cpuPath ?? "");
  using topology = await plugin.topology("cpu:2");
  assert.deepEqual([topology.name, topology.devices.length, topology.platform], ["cpu:2", 2, "cpu"]);
  const executable = await topology.compile(SHARDED, { partitions: 2 });
  assert.ok(((await executable.countInstructions()).get("all-reduce") ?? 0) > 0);
  assert.equal((await executable.analyse()).partitions, 2);
  using client = await openCpu();
  const a = await client.fromHost(new Float32Array(4), { dtype: "float32", shape: [4] });
  await assert.rejects(executable.execute([a]), code("XLA_NOT_LOADED"));
  await assert.rejects(plugin.topology("v5e:2x2"), code("XLA_INVALID_ARGUMENT", /cpu:N/));
  await assert.rejects(plugin.topology(""), code("ERR_ARGUMENT"));
});

test("a compiled program is read from the cache by another client", needsCpu, async (t) => {
  const cache = new ExecutableCache({ folder: folder(t), minSeconds: 0 });
  using client = await openCpu();
  const first = await client.compile(ADD, { cache });
  assert.equal(first.fromCache, false);
  assert.equal(readdirSync(cache.folder).length, 1);
  using other = await openCpu();
  const second = await other.compile(ADD, { cache });
  assert.equal(second.fromCache, true);
  assert.deepEqual([second.outputs, second.signature], [2, first.signature]);
  const a = await other.fromHost(Float32Array.of(1, 2, 3, 4), { dtype: "float32", shape: [4] });
  const [, sum] = await second.execute([
    a,
    await other.fromHost(new Float32Array(4), { dtype: "float32", shape: [4] }),
  ]);
  assert.deepEqual([...new Float32Array((await sum?.toHost()) ?? new ArrayBuffer())], [10]);
  assert.equal(a.state, "donated");
  assert.equal((await other.compile(PLAIN_ADD, { cache })).fromCache, false, "another text");
  assert.equal((await other.compile(ADD, { cache, allowExcessPrecision: true })).fromCache, false, "other options");
  assert.equal((await client.load(await first.serialize())).outputs, 2);
  await assert.rejects(client.load(new Uint8Array(100)), code("XLA_INTERNAL"));
});

test("the cache is bounded, and what is damaged is missing", async (t) => {
  const cache = new ExecutableCache({ folder: folder(t), maxBytes: 400 });
  const keys = ["a", "b", "c"].map((name) => ExecutableCache.key([name]));
  const [a = "", b = "", c = ""] = keys;
  const old = new Date(Date.now() - 60_000);
  for (const [i, key] of [a, b].entries()) {
    await cache.put(key, new Uint8Array(100).fill(i));
    utimesSync(join(cache.folder, `${key}.program`), old, old);
  }
  assert.deepEqual(await cache.get(a), Buffer.alloc(100, 0)); // used now
  await cache.put(c, new Uint8Array(100).fill(2));
  assert.equal(await cache.get(b), null, "not used for longest");
  assert.deepEqual(await cache.get(c), Buffer.alloc(100, 2));
  const path = join(cache.folder, `${c}.program`);
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = 9;
  writeFileSync(path, bytes);
  assert.equal(await cache.get(c), null);
  assert.ok(!readdirSync(cache.folder).some((name) => name.startsWith(c)), "and removed");
  await cache.put(c, new Uint8Array(500));
  assert.equal(await cache.get(c), null, "larger than all");
  await cache.clear();
  assert.deepEqual(readdirSync(cache.folder), []);
  await assert.rejects(cache.get("../x"), code("ERR_ARGUMENT"));
  assert.notEqual(ExecutableCache.key(["ab", "c"]), ExecutableCache.key(["a", "bc"]));
});

test("several writers of one program leave one whole program", async (t) => {
  const cache = new ExecutableCache({ folder: folder(t) });
  const key = ExecutableCache.key(["x"]);
  await Promise.all(Array.from({ length: 8 }, () => cache.put(key, new Uint8Array(10_000).fill(7))));
  assert.deepEqual(readdirSync(cache.folder), [`${key}.program`]);
  assert.deepEqual(await cache.get(key), Buffer.alloc(10_000, 7));
});

test("a disk that refuses costs a warning", async (t) => {
  const path = join(folder(t), "file");
  writeFileSync(path, "");
  const warned = new Promise<Error & { code?: string }>((resolve) => process.once("warning", resolve));
  const cache = new ExecutableCache({ folder: join(path, "below") });
  const key = ExecutableCache.key(["x"]);
  await cache.put(key, new Uint8Array(1));
  await cache.put(key, new Uint8Array(1));
  assert.equal((await warned).code, "XLA_CACHE");
  assert.equal(await cache.get(key), null);
});
