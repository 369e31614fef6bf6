import assert from "node:assert/strict";
import { test } from "node:test";
import { mayHaveTpu } from "../lib/environment.mjs";
import { XlaPlugin } from "./plugin.js";
import { topologyOptions } from "./topology-options.js";
import { ADD, SHARDED, needsTpu, tpuPath } from "./testing/cpu.js";

const CHIPS = [
  ["v4:2x2x1", 8, "TPU v4", 32], // two cores a chip
  ["v5e:1x1", 1, "TPU v5 lite", 16],
  ["v5e:1x2", 2, "TPU v5 lite", 16],
  ["v5e:2x4", 8, "TPU v5 lite", 16],
  ["v6e:1x1", 1, "TPU v6 lite", 32],
  ["v6e:2x2", 4, "TPU v6 lite", 32],
] as const;

test("libtpu compiles for chips that are not there, and tells what they need", needsTpu, async () => {
  const plugin = await XlaPlugin.load(tpuPath ?? "");
  assert.ok(plugin.apiVersion.minor >= 90);
  assert.deepEqual(plugin.missing, []);
  assert.ok(plugin.attributes.has("xla_version"));
  for (const [name, count, kind, gigabytes] of CHIPS) {
    using topology = await plugin.topology(name);
    assert.deepEqual(
      [topology.devices.length, topology.devices[0]?.kind, topology.platform],
      [count, kind, "tpu"],
      name,
    );
    const limit = topology.devices[0]?.attributes.get("device_memory_bytes_limit");
    assert.ok(typeof limit === "number" && Math.abs(limit / 2 ** 30 - gigabytes) < 2, `${name}: ${String(limit)}`);
    const executable = await topology.compile(ADD);
    const { memory, flops, optimalSeconds, fingerprint } = await executable.analyse();
    assert.ok(
      memory !== null && memory.peak > 0 && memory.arguments > 0 && memory.aliased > 0 && memory.code > 0,
      name,
    );
    assert.equal(flops, 7, name);
    assert.ok(optimalSeconds !== null && optimalSeconds > 0, name);
    assert.match(fingerprint ?? "", /^[\da-f]+$/);
    assert.ok((await executable.serialize()).byteLength > 1000);
  }
});

test("a program that is sharded over chips has the compiler's collectives", needsTpu, async () => {
  const plugin = await XlaPlugin.load(tpuPath ?? "");
  using topology = await plugin.topology("v5e:2x2");
  const text = SHARDED.replace("[2]<=[2]", "[4]<=[4]").replace("num_partitions = 2", "num_partitions = 4");
  const executable = await topology.compile(text, { partitions: 4 });
  const counts = await executable.countInstructions();
  assert.equal((counts.get("all-reduce") ?? 0) + (counts.get("all-reduce-start") ?? 0), 1);
  assert.equal((await executable.analyse()).partitions, 4);
});

test(
  "a topology that does not exist, and devices that are not there, are errors with libtpu's reason",
  needsTpu,
  async () => {
    const plugin = await XlaPlugin.load(tpuPath ?? "");
    for (const [name, words] of [
      ["nonsense", /topology name nonsense is invalid/],
      ["v5e:3x3", /not divisible/],
    ] as const)
      await assert.rejects(plugin.topology(name), (error) => {
        assert.equal((error as { code?: string }).code, "XLA_INVALID_ARGUMENT");
        assert.match(String(error), words);
        return true;
      });
    if (!mayHaveTpu())
      await assert.rejects(plugin.createClient(), (error) => {
        assert.equal((error as { code?: string }).code, "XLA_NOT_FOUND");
        assert.match(String(error), /TPU initialization failed/);
        return true;
      });
  },
);

test("hosts with fewer than 2 × 2 chips are said to have fewer", () => {
  const bounds = (name: string): unknown => topologyOptions("/x/libtpu.so", name)["chips_per_host_bounds"];
  assert.deepEqual(["v5e:1x1", "v5e:1x4", "v4:2x1x1"].map(bounds), [
    [1, 1, 1],
    [1, 2, 1],
    [2, 1, 1],
  ]);
  assert.deepEqual(["v5e:2x2", "v5e:4x4", "v4:2x2x1", "nonsense"].map(bounds), [
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  assert.deepEqual(topologyOptions("/x/pjrt_cpu.so", "cpu:1"), {});
});
