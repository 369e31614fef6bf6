import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { installed } from "../lib/places.mjs";
import { XlaError } from "./errors.js";
import { XlaPlugin } from "./plugin.js";
import { findPlugins, pluginFor } from "./plugins.js";
import { cpuPath, needsCpu, openCpu } from "./testing/cpu.js";

const code = (expected: string, words?: RegExp) => (error: unknown) => {
  assert.ok(error instanceof Error);
  assert.equal((error as { code?: string }).code, expected, String(error));
  if (words !== undefined) assert.match(error.message, words);
  return true;
};

test("what is no plugin is refused, each with its own code", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "nbit-xla-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const text = join(folder, "text.so");
  writeFileSync(text, "not a library\n");
  await assert.rejects(XlaPlugin.load(join(folder, "none.so")), code("XLA_NO_PLUGIN", /none\.so: No such file/));
  await assert.rejects(XlaPlugin.load(folder), code("XLA_NO_PLUGIN", /not a file/));
  await assert.rejects(XlaPlugin.load(text), code("XLA_PLUGIN_BROKEN", /text\.so/));
  await assert.rejects(XlaPlugin.load(installed.file), code("XLA_NOT_A_PLUGIN", /exports no GetPjrtApi/));
  await assert.rejects(XlaPlugin.load(""), code("ERR_ARGUMENT"));
  await assert.rejects(XlaPlugin.load("a\0b"), code("ERR_ARGUMENT"));
  await assert.rejects(XlaPlugin.load(3 as unknown as string), code("ERR_ARGUMENT"));
  await assert.rejects(
    XlaPlugin.load(join(folder, "none.so")),
    (error) => error instanceof XlaError && error.name === "XlaError",
  );
});

test("PJRT_PLUGIN_LIBRARY_PATH goes before what set-up made", (t) => {
  const before = process.env["PJRT_PLUGIN_LIBRARY_PATH"];
  t.after(() => {
    if (before === undefined) delete process.env["PJRT_PLUGIN_LIBRARY_PATH"];
    else process.env["PJRT_PLUGIN_LIBRARY_PATH"] = before;
  });
  process.env["PJRT_PLUGIN_LIBRARY_PATH"] = installed.file;
  assert.equal(pluginFor("tpu"), installed.file);
  assert.deepEqual(findPlugins()[0], {
    platform: null,
    place: installed.file,
    found: "PJRT_PLUGIN_LIBRARY_PATH",
    path: installed.file,
  });
  process.env["PJRT_PLUGIN_LIBRARY_PATH"] = "/nowhere/plugin.so";
  assert.deepEqual([findPlugins()[0]?.found, findPlugins()[0]?.path], ["no such file", null]);
});

test("without a plugin the error says where it looked and what sets one up", (t) => {
  const saved = { cache: process.env["XDG_CACHE_HOME"], path: process.env["PATH"] };
  t.after(() => {
    if (saved.cache === undefined) delete process.env["XDG_CACHE_HOME"];
    else process.env["XDG_CACHE_HOME"] = saved.cache;
    process.env["PATH"] = saved.path;
  });
  process.env["XDG_CACHE_HOME"] = "/nowhere";
  process.env["PATH"] = "/nowhere";
  assert.throws(
    () => pluginFor("cpu"),
    code("XLA_NO_PLUGIN", /pjrt_cpu\.so: not there.*\nFix: npx nbit setup --xla$/s),
  );
  assert.throws(() => pluginFor("tpu"), code("XLA_NO_PLUGIN", /no python3 in PATH\nFix: npx nbit setup --tpu$/s));
});

test("a plugin tells its version, and lacks nothing that nbit uses", needsCpu, async () => {
  const plugin = await XlaPlugin.load(cpuPath ?? "");
  assert.equal(plugin.apiVersion.major, 0);
  assert.ok(plugin.apiVersion.minor >= 90);
  assert.deepEqual(plugin.missing, []);
  const [first, second] = [await plugin.createClient({ cpu_device_count: 3 }), await plugin.createClient()];
  assert.deepEqual([first.platform, first.devices.length, second.devices.length], ["cpu", 3, 1]);
  assert.deepEqual(
    first.devices.map(({ id, kind, process: rank }) => [id, kind, rank]),
    [0, 1, 2].map((id) => [id, "cpu", 0]),
  );
  first.close();
  assert.equal(second.stats().liveBuffers, 0);
  second.close();
  await assert.rejects(plugin.createClient({ devices: 2 }), code("XLA_INVALID_ARGUMENT", /cpu_device_count/));
  await assert.rejects(plugin.createClient({ cpu_device_count: 0 }), code("XLA_INVALID_ARGUMENT", /1 to 1024/));
  await assert.rejects(plugin.createClient({ a: undefined } as never), code("ERR_ARGUMENT"));
});

test("a thread has a client of its own, and its end leaves nothing behind", needsCpu, async () => {
  using client = await openCpu();
  const source = `
    const { parentPort } = require("node:worker_threads");
    (async () => {
      const { XlaPlugin } = await import(${JSON.stringify(new URL("./index.js", import.meta.url).href)});
      const plugin = await XlaPlugin.load(${JSON.stringify(cpuPath)});
      const client = await plugin.createClient({ cpu_device_count: 2 });
      const buffer = await client.fromHost(Float32Array.of(1, 2), { dtype: "float32", shape: [2] });
      void buffer.toHost();
      parentPort.postMessage([client.devices.length, ...new Float32Array(await buffer.toHost())]);
    })();`;
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(source, { eval: true });
    const message = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    assert.deepEqual(message, [2, 1, 2]);
    await worker.terminate();
  }
  assert.equal(client.stats().liveBuffers, 0);
});
