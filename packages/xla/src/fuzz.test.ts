/** No input of JavaScript's ends the process: every function of the addon, with right, wrong, closed and foreign values. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { addon, type Addon, type Handle } from "./native.js";
import { XlaPlugin } from "./plugin.js";
import { ADD, SHARDED, cpuPath, needsCpu } from "./testing/cpu.js";
import { compileOptions, encodeCompileOptions } from "./compile-options.js";

/** mulberry32: the same sequence everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const throwing = new Proxy([], {
  get() {
    throw new Error("a getter that throws");
  },
});
const detached = new Float32Array(4);
structuredClone(detached.buffer, { transfer: [detached.buffer] });

const options = encodeCompileOptions(compileOptions("fuzz", {}), [0]);
const JUNK: readonly unknown[] = [
  undefined, null, true, 0, -1, 1.5, NaN, Infinity, 2 ** 53, 2 ** 31, 1n, "", "cpu:2", "cpu:x", "a\0b", "\ud800", Symbol("s"), {}, [], [[]], [[[]]], [1, 2], [4], [-1], [2 ** 40, 2 ** 40],
  [["cpu_device_count", 1]], [["cpu_device_count", 1e9]], [["x", [1, 2]]], [["x"]], [{}], () => 1, new Map(), new Float32Array(4), new Uint8Array(16), new Uint8Array(0), new DataView(new ArrayBuffer(8)),
  new ArrayBuffer(16), new SharedArrayBuffer(16), detached, detached.buffer, throwing, new Proxy({}, {}), options, ADD, SHARDED, ADD.slice(0, 90), 11, 13, 30, new Array(3), Promise.resolve(1), new Date(), /x/,
]; // prettier-ignore

/** Functions whose raw addresses a caller vouches for are not for everybody, nor is the factory of errors. */
const NAMES = (Object.keys(addonFunctions()) as (keyof Addon)[]).filter(
  (name) => !/Memory$|^(provideErrors|load|end|uploadNow|downloadNow)$/.test(name),
);
function addonFunctions(): Addon {
  return addon();
}

test("3,000 calls of the addon's functions, with handles of every kind and state", needsCpu, async () => {
  await XlaPlugin.load(cpuPath ?? "");
  const native = addon();
  const random = randomFrom(20261201);
  const plugin = await native.load(cpuPath ?? "", []);
  const pool: unknown[] = [...JUNK, plugin];
  const open = async (): Promise<void> => {
    const client = await native.createClient(plugin, [["cpu_device_count", 2]]);
    const program = await native.compile(client, ADD, options);
    const [a, b] = await Promise.all(
      [0, 0].map(() => native.upload(client, 0, 11, [4], new Float32Array(4)) as Promise<Handle<"buffer">>),
    );
    pool.push(
      client,
      program,
      a,
      b,
      [a, b],
      [[a, b]],
      [[a], [b]],
      [[b, b]],
      await native.createTopology(plugin, "cpu:2", []),
    );
  };
  await open();
  let refused = 0;
  let held = 0;
  const codes = new Set<unknown>();
  const pending: Promise<unknown>[] = [];
  for (let call = 0; call < 3000; call++) {
    if (call % 500 === 499) await open();
    const name = NAMES[Math.floor(random() * NAMES.length)] as keyof Addon;
    const args = Array.from(
      { length: Math.floor(random() * 6) },
      () => pool[Math.floor(random() ** 0.5 * pool.length)],
    );
    const note = (error: unknown): void => {
      refused++;
      codes.add((error as { code?: unknown }).code);
    };
    try {
      const result: unknown = (native[name] as (...args: unknown[]) => unknown)(...args);
      if (result instanceof Promise)
        pending.push(result.then((value) => void (value !== undefined && pool.length < 200 && pool.push(value)), note));
      held++;
    } catch (error) {
      note(error);
    }
    if (pending.length > 50) await Promise.all(pending.splice(0));
  }
  await Promise.all(pending);
  assert.ok(refused > 1000 && held > 50, `${refused} refused, ${held} taken`);
  for (const code of ["XLA_HANDLE", "XLA_ARGUMENT"]) assert.ok(codes.has(code), code);
  for (const code of codes) assert.match(String(code), /^(XLA_[A-Z_]+|undefined)$/); // undefined: what the getter threw
});

test(
  "a run with buffers that are disposed of, donated and closed at once ends in results or coded errors",
  needsCpu,
  async () => {
    const native = addon();
    const plugin = await native.load(cpuPath ?? "", []);
    for (let round = 0; round < 30; round++) {
      const client = await native.createClient(plugin, []);
      const program = await native.compile(client, ADD, options);
      const upload = (): Promise<Handle<"buffer">> => native.upload(client, 0, 11, [4], Float32Array.of(1, 2, 3, 4));
      const [a, b] = [await upload(), await upload()];
      // What is found out at once is thrown; what the lane finds out rejects.
      const attempt = async (work: () => Promise<unknown>): Promise<unknown> => work();
      const asked = [
        attempt(() => native.run(program, [[a, b]], [])),
        attempt(() => native.run(program, [[a, b]], [])),
        attempt(() => native.download(a)),
        attempt(() => native.ready(b)),
      ];
      if (round % 3 === 0) native.dispose(b);
      if (round % 3 === 1) native.dispose(program);
      if (round % 2 === 0) native.closeClient(client);
      const settled = await Promise.allSettled(asked);
      assert.equal(settled[0]?.status, "fulfilled");
      assert.equal((settled[1] as PromiseRejectedResult).reason.code, "XLA_BUFFER_DONATED");
      assert.equal((settled[2] as PromiseRejectedResult).reason.code, "XLA_BUFFER_DONATED");
      assert.equal(settled[3]?.status, "fulfilled");
    }
  },
);
