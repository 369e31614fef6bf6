/** Models in several files: the files and the index of Hugging Face's library. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ArgumentError, full, loadSafetensors, ones, SafetensorsError, saveSafetensors } from "@nbit/torch";

const root = mkdtempSync(join(tmpdir(), "nbit-shards-"));
after(() => rmSync(root, { recursive: true }));
const fresh = (): string => mkdtempSync(join(root, "f-"));
const tensors = { b: full([10], 1), a: full([5], 2), c: full([30], 3), d: ones([2]) };

test("tensors go into files of so many bytes, in their order; the index says where", () => {
  const folder = fresh();
  saveSafetensors(join(folder, "model.safetensors"), tensors, { maxShardSize: 68, metadata: { format: "pt" } });
  assert.deepEqual(readdirSync(folder).sort(), [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
  ]);
  assert.deepEqual(JSON.parse(readFileSync(join(folder, "model.safetensors.index.json"), "utf8")), {
    metadata: { total_size: 188 },
    weight_map: {
      a: "model-00002-of-00002.safetensors",
      b: "model-00002-of-00002.safetensors",
      c: "model-00001-of-00002.safetensors",
      d: "model-00002-of-00002.safetensors",
    },
  });
  for (const path of [folder, join(folder, "model.safetensors.index.json")]) {
    const read = loadSafetensors(path);
    assert.deepEqual(Object.keys(read).sort(), ["a", "b", "c", "d"]);
    assert.deepEqual(read["c"]?.tolist(), tensors.c.tolist());
  }
  assert.deepEqual(Object.keys(loadSafetensors(folder, { names: ["d"] })), ["d"]);
  assert.throws(() => loadSafetensors(folder, { names: ["x"] }), { code: "SAFETENSORS_MISSING" });
});

test("a later save takes the place of all that an earlier one wrote, and of nothing else", () => {
  const folder = fresh();
  const path = join(folder, "model.safetensors");
  writeFileSync(join(folder, "other-00001-of-00002.safetensors"), "");
  saveSafetensors(path, tensors, { maxShardSize: 50 });
  saveSafetensors(path, tensors, { maxShardSize: "1MB" });
  assert.deepEqual(readdirSync(folder).sort(), ["model.safetensors", "other-00001-of-00002.safetensors"]);
  assert.deepEqual(Object.keys(loadSafetensors(folder)).sort(), ["a", "b", "c", "d"]);
  saveSafetensors(path, tensors, { maxShardSize: 68 });
  assert.ok(!existsSync(path), "the single file is gone, too");
  assert.equal(readdirSync(folder).length, 4);
});

test("what is refused", () => {
  const folder = fresh();
  const path = join(folder, "model.safetensors");
  for (const maxShardSize of [0, -1, 1.5, "5 bytes", "GB", true])
    assert.throws(() => Reflect.apply(saveSafetensors, null, [path, tensors, { maxShardSize }]), ArgumentError);
  assert.throws(
    () => saveSafetensors(path, { ...tensors, e: ones([1]).to("complex128") }, { maxShardSize: 50 }),
    /dtype/,
  );
  assert.deepEqual(readdirSync(folder), [], "nothing is written of what cannot be written whole");
  const index = join(folder, "model.safetensors.index.json");
  for (const text of [
    "",
    "[]",
    "{}",
    '{"weight_map": []}',
    '{"weight_map": {"a": 1}}',
    '{"weight_map": {"a": "../x.safetensors"}}',
    '{"weight_map": {"a": "/etc/passwd"}}',
  ]) {
    writeFileSync(index, text);
    assert.throws(
      () => loadSafetensors(folder),
      (e) => e instanceof SafetensorsError && e.code === "SAFETENSORS_INDEX",
    );
  }
  writeFileSync(index, '{"weight_map": {"a": "gone.safetensors"}}');
  assert.throws(() => loadSafetensors(folder), { code: "ENOENT" });
  rmSync(index);
  assert.throws(() => loadSafetensors(folder), { code: "ERR_ARGUMENT" });
  assert.ok(!existsSync(path));
});
