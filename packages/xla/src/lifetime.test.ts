/** What nobody refers to any more goes; a process that ends in the middle of work ends well. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { setImmediate as turn } from "node:timers/promises";
import { ADD, PLAIN_ADD, cpuPath, needsCpu, openCpu, tpuPath } from "./testing/cpu.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

test("buffers and programs that nobody refers to are freed by the garbage collector", needsCpu, async () => {
  using client = await openCpu();
  const kept = await client.fromHost(new Float32Array(4), { dtype: "float32", shape: [4] });
  const executable = await client.compile(PLAIN_ADD, { cache: null });
  for (let i = 0; i < 20; i++) await executable.execute([kept, kept]);
  await client.compile(ADD, { cache: null });
  const live = (): number => client.stats().liveBuffers + client.stats().livePrograms;
  for (let i = 0; i < 20 && live() > 2; i++) {
    collect();
    await turn();
  }
  assert.deepEqual([client.stats().liveBuffers, client.stats().livePrograms], [1, 1]);
  assert.equal(kept.state, "live");
  assert.equal(executable.outputs, 2);
});

test("memory of devices presses on the collector, which sees handles of a few bytes", needsCpu, async () => {
  using client = await openCpu();
  const source = new Float32Array(1 << 20);
  let most = 0;
  for (let i = 0; i < 150; i++) {
    await client.fromHost(source, { dtype: "float32", shape: [1 << 20] });
    most = Math.max(most, client.stats().liveBytes);
    await turn();
  }
  assert.ok(most < 150 * source.byteLength, `${most} bytes at once`);
});

/** Runs statements with `XlaPlugin` and a client `client` of `plugin` in a process of its own. */
function ends(
  plugin: string,
  statements: string,
): Promise<{ status: number | null; signal: string | null; said: string }> {
  const source = `
    import { XlaPlugin } from ${JSON.stringify(new URL("./index.js", import.meta.url).href)};
    const plugin = await XlaPlugin.load(${JSON.stringify(plugin)});
    ${statements}`;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", source], { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
    child.on("error", reject);
    child.on("close", (status, signal) => resolve({ status, signal, said }));
  });
}
const CLIENT = "const client = await plugin.createClient({ cpu_device_count: 2 });";
const ARRAY = 'await client.fromHost(new Float32Array(1 << 20), { dtype: "float32", shape: [1 << 20] })';
const MIDDLES: readonly (readonly [what: string, statements: string])[] = [
  ["a client was never closed", `${CLIENT} const a = ${ARRAY};`],
  [
    "a program compiles",
    `${CLIENT} void client.compile(${JSON.stringify(ADD)}); setTimeout(() => process.exit(), 30);`,
  ],
  [
    "work is queued and bytes are on their way",
    `${CLIENT} for (let i = 0; i < 20; i++) { void (${ARRAY}).toHost(); void plugin.topology("cpu:2"); } process.exit();`,
  ],
];
for (const [what, statements] of MIDDLES)
  test(`a process ends well when ${what}`, needsCpu, async () => {
    assert.deepEqual(await ends(cpuPath ?? "", statements), { status: 0, signal: null, said: "" });
  });

test("a process that has loaded libtpu ends well", { skip: tpuPath === null && "needs libtpu" }, async () => {
  const { status, signal } = await ends(tpuPath ?? "", 'void (await plugin.topology("v5e:2x2")).devices;');
  assert.deepEqual([status, signal], [0, null]);
});
