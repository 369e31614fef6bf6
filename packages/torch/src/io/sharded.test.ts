import assert from "node:assert/strict";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { manualSeed, ones, randint, randn, type Tensor, tensor, zeros } from "../index.js";
import {
  consolidateCheckpoint,
  loadCheckpoint,
  packState,
  removeSharded,
  saveCheckpoint,
  ShardedCheckpoint,
  writeManifest,
  writeShard,
  type Shard,
} from "./index.js";

const root = mkdtempSync(join(tmpdir(), "nbit-sharded-"));
after(() => rmSync(root, { recursive: true }));
const folder = (): string => mkdtempSync(join(root, "case-"));
const SAVE = "0123456789abcdef";

manualSeed(1);
const state = {
  epoch: 3,
  weights: { a: randn([7, 5]), b: randn([4]).to("bfloat16"), scalar: tensor(2.5), none: zeros([0, 3]) },
  codes: randint(0, 255, [1000], { dtype: "uint8" }),
  flags: ones([3]).to("bool"),
  counts: [1n, NaN, "text"],
};

/** Each rank saves an uneven range of every tensor. */
function save(path: string, ranks: number, id = SAVE, of: unknown = state): void {
  const { tensors, json } = packState(of);
  const cut = (n: number, rank: number): number => Math.floor((n * rank * rank) / (ranks * ranks));
  const shards: Shard[] = [];
  for (let rank = 0; rank < ranks; rank++) {
    const parts = Object.entries(tensors).map(([name, t]) => {
      const [start, end] = [cut(t.numel(), rank), cut(t.numel(), rank + 1)];
      return { name, start, end, data: t.reshape([-1]).narrow(0, start, end - start) };
    });
    shards.push(
      writeShard(
        path,
        id,
        rank,
        parts.filter(({ start, end }) => end > start),
      ),
    );
  }
  const described = Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape }]) => [name, { dtype, shape }]),
  );
  writeManifest(path, shards, { tensors: described, json, metadata: { by: "me" } });
}
const same = (a: Tensor, b: Tensor): void => {
  assert.deepEqual([a.dtype, a.shape, Buffer.from(a.toBytes())], [b.dtype, b.shape, Buffer.from(b.toBytes())]);
};

test("any range is read, whatever the parts are, and the whole is what was saved", () => {
  const path = join(folder(), "last.ckpt");
  save(path, 3);
  using checkpoint = ShardedCheckpoint.open(path);
  for (const [start, end] of [
    [0, 35],
    [3, 4],
    [5, 30],
    [17, 17],
    [34, 35],
  ] as const)
    same(checkpoint.read("weights.a", start, end), state.weights.a.reshape([-1]).narrow(0, start, end - start));
  const whole = checkpoint.state() as typeof state;
  same(whole.weights.b, state.weights.b);
  same(whole.codes, state.codes);
  same(whole.flags, state.flags);
  same(whole.weights.none, state.weights.none);
  assert.deepEqual([whole.epoch, whole.counts], [3, [1n, NaN, "text"]]);
  assert.deepEqual(checkpoint.metadata["by"], "me");
  assert.throws(() => checkpoint.read("weights.a", 30, 36), { code: "ERR_ARGUMENT", message: /35 elements/ });
  assert.throws(() => checkpoint.read("weights.c", 0, 1), { code: "SAFETENSORS_MISSING" });
});

test("consolidated: the very file that one process would have written", () => {
  const home = folder();
  save(join(home, "last.ckpt"), 4);
  saveCheckpoint(join(home, "whole.ckpt"), state, { metadata: { by: "me" } });
  const out = consolidateCheckpoint(join(home, "last.ckpt"));
  assert.equal(out, join(home, "last.consolidated.ckpt"));
  assert.deepEqual(readFileSync(out), readFileSync(join(home, "whole.ckpt")));
  assert.equal((loadCheckpoint(out) as typeof state).epoch, 3);
  assert.throws(() => consolidateCheckpoint(join(home, "last.ckpt")), { code: "ERR_ARGUMENT", message: /a new file/ });
  consolidateCheckpoint(join(home, "last.ckpt"), out, { overwrite: true });
});

test("a save that is killed leaves the checkpoint before it; the next one clears up", () => {
  const path = join(folder(), "last.ckpt");
  writeShard(path, SAVE, 0, [{ name: "x", start: 0, end: 4, data: ones([4]) }]);
  assert.throws(() => ShardedCheckpoint.open(path), {
    code: "CHECKPOINT_INCOMPLETE",
    message: /expected manifest\.json, which a save writes last\. Received: none\./,
  });
  save(path, 2, "aaaaaaaaaaaaaaaa", { x: ones([4]) });
  writeShard(path, "bbbbbbbbbbbbbbbb", 0, [{ name: "x", start: 0, end: 4, data: zeros([4]) }]);
  same((ShardedCheckpoint.open(path).state() as { x: Tensor }).x, ones([4]));
  save(path, 1, "cccccccccccccccc", { x: zeros([4]) });
  assert.deepEqual(readdirSync(path).sort(), ["cccccccccccccccc.rank-0.safetensors", "manifest.json"]);
  same((ShardedCheckpoint.open(path).state() as { x: Tensor }).x, zeros([4]));
});

test("parts that do not make up a tensor are no checkpoint", () => {
  const path = folder();
  const part = (start: number, end: number): Shard =>
    writeShard(path, SAVE, start, [{ name: "x", start, end, data: ones([end - start]) }]);
  const finish = (...shards: Shard[]): void =>
    writeManifest(path, shards, { tensors: { x: { dtype: "float32", shape: [6] } }, json: "{}" });
  assert.throws(() => finish(part(0, 3), part(4, 6)), { code: "CHECKPOINT_STATE", message: /begins at 3/ });
  assert.throws(() => finish(part(0, 4), part(3, 6)), { code: "CHECKPOINT_STATE", message: /begins at 4/ });
  assert.throws(() => finish(part(0, 4)), { code: "CHECKPOINT_STATE", message: /6 elements of "x"/ });
  assert.throws(() => part(0, 3) && writeShard(path, SAVE, 0, [{ name: "x", start: 0, end: 2, data: ones([3]) }]), {
    code: "ERR_ARGUMENT",
  });
  assert.throws(() => ShardedCheckpoint.open(path), { code: "CHECKPOINT_INCOMPLETE" });
});

test("what is missing, cut, newer or damaged is told", () => {
  const home = folder();
  const path = join(home, "last.ckpt");
  save(path, 2);
  const manifest = readFileSync(join(path, "manifest.json"), "utf8");
  const [, second = ""] = readdirSync(path).sort();
  const copy = join(home, "copy");
  const fails = (code: string, message: RegExp, damage: () => void): void => {
    rmSync(copy, { recursive: true, force: true });
    mkdirSync(copy);
    for (const name of readdirSync(path)) copyFileSync(join(path, name), join(copy, name));
    damage();
    assert.throws(() => ShardedCheckpoint.open(copy), { code, message });
  };
  const write = (text: string): void => writeFileSync(join(copy, "manifest.json"), text);
  fails("CHECKPOINT_INCOMPLETE", /rank-1.* Received: none/, () => rmSync(join(copy, second)));
  fails("CHECKPOINT_INCOMPLETE", /Received: 40 bytes/, () => truncateSync(join(copy, second), 40));
  fails("CHECKPOINT_VERSION", /version 1 or below/, () => write(manifest.replace('"version":1', '"version":2')));
  fails("CHECKPOINT_STATE", /JSON/, () => write(manifest.slice(1)));
  fails("CHECKPOINT_STATE", /the name of a file/, () => write(manifest.replaceAll(second, "../x.safetensors")));
  fails("CHECKPOINT_STATE", /to be a dtype/, () => write(manifest.replace('"float32"', '"float3"')));
  fails("CHECKPOINT_STATE", /begins at 0/, () => write(manifest.replace('"start":0', '"start":1')));
  fails("CHECKPOINT_FORMAT", /Received: the file/, () => {
    rmSync(copy, { recursive: true });
    writeFileSync(copy, "");
  });
  renameSync(path, join(home, "moved"));
  assert.throws(() => ShardedCheckpoint.open(path), { code: "ENOENT" });
});

test("removing takes the checkpoint's files only", () => {
  const path = join(folder(), "last.ckpt");
  save(path, 2);
  writeFileSync(join(path, "notes.txt"), "");
  removeSharded(path);
  assert.deepEqual(readdirSync(path), ["notes.txt"]);
  rmSync(join(path, "notes.txt"));
  save(path, 2);
  removeSharded(path);
  assert.throws(() => readdirSync(path), { code: "ENOENT" });
});
