import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { fileURLToPath } from "node:url";
import { findPlugins } from "@nbit/xla";
import { main } from "../main.js";

const bin = fileURLToPath(new URL("../../bin/nbit.mjs", import.meta.url));
const build = fileURLToPath(new URL("../../../../build", import.meta.url)); // inside the workspace, where @nbit/… is found
mkdirSync(build, { recursive: true });
const folder = mkdtempSync(join(build, "explain-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const has = (platform: string): boolean => findPlugins().some((p) => p.platform === platform && p.path !== null);
const needsCpu = { skip: !has("cpu") && "needs the CPU plugin: nbit setup --xla" };
const needsTpu = { skip: !has("tpu") && "needs libtpu: nbit setup --tpu" };

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
function explain(...args: string[]): Promise<Result> {
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, "explain", ...args], { cwd: folder }, (error, stdout, stderr) =>
      resolve({ status: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stdout, stderr }),
    );
  });
}

const NET = `
import { LightningModule, Trainer } from "@nbit/lightning";
import { crossEntropyLoss, linalg, nn, optim, randint, randn } from "@nbit/torch";
class Net extends LightningModule {
  layers = new nn.Sequential(new nn.Linear(16, 64), new nn.ReLU(), new nn.Linear(64, 4));
  trainingStep([x, y]) {
    const loss = crossEntropyLoss(this.layers.forward(x), y);
    this.log("loss", loss);
    return loss;
  }
  configureOptimizers() {
    return new optim.AdamW(this.parameters(), { lr: 1e-2 });
  }
}
const batches = Array.from({ length: 4 }, () => [randn(8, 16), randint(4, [8])]);
`;
const PROGRAMS: Readonly<Record<string, string>> = {
  "program.mjs": `${NET}
const trainer = new Trainer({ precision: 16, maxEpochs: 1 });
await trainer.fit(new Net(), { trainDataloaders: batches });
console.log("trained", process.argv.slice(2));`,
  "module.mjs": `${NET}
export const model = Net;
export const trainDataloaders = batches;
export const trainer = { precision: "bf16", accumulateGradBatches: 2 };`,
  "later.ts": `${NET.replace("trainingStep([x, y])", "override trainingStep([x, y]: any)").replace("configureOptimizers()", "override configureOptimizers()")}
const precision: string = process.argv[2] ?? "none";
setTimeout(() => new Trainer({ precision }).fit(new Net(), { trainDataloaders: batches }), 1);`,
  "none.mjs": `console.log("nothing to fit");`,
  "wrong.mjs": `${NET}
await new Trainer({ precision: 7 }).fit(new Net(), { trainDataloaders: batches });`,
  "determinant.mjs": `${NET}
class Other extends Net {
  trainingStep([x, y]) {
    return super.trainingStep([x, y]).add(linalg.det(x.t().matmul(x)));
  }
}
await new Trainer().fit(new Other(), { trainDataloaders: batches });`,
};
for (const [name, text] of Object.entries(PROGRAMS)) writeFileSync(join(folder, name), text);

test("without an accelerator it is what the program's own Trainer says, and nothing trains", async () => {
  const { status, stdout, stderr } = await explain("program.mjs");
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^asked +16\nruns +16-mixed/);
  assert.match(stdout, /^memory .*optimizer state \d/m);
  assert.doesNotMatch(stdout, /trained/);
});

test("flags go before the program's options, and arguments after -- are the program's", async () => {
  const { status, stdout, stderr } = await explain("later.ts", "--json", "--", "bf16-true");
  assert.equal(status, 0, stderr);
  assert.deepEqual(Object.entries(JSON.parse(stdout) as object).slice(0, 2), [
    ["requested", "bf16-true"],
    ["name", "bf16-true"],
  ]);
  const flagged = await explain("module.mjs", "--precision", "32");
  assert.match(flagged.stdout, /^runs +32-true/m);
});

test("what cannot be explained is an error with a code", async () => {
  const none = await explain("none.mjs");
  assert.deepEqual([none.status, none.stdout], [2, "nothing to fit\n"]);
  assert.match(none.stderr, /ERR_NO_FIT: nbit explain: expected none\.mjs to call trainer\.fit/);
  const wrong = await explain("wrong.mjs", "--topology", "v5e:2x2", "--plugin", "/nowhere.so");
  assert.deepEqual([wrong.status, wrong.stdout], [2, ""]);
  assert.match(wrong.stderr, /ERR_TOPOLOGY_PLUGIN.*\/nowhere\.so/);
  const file = join(folder, "program.mjs");
  for (const [args, words] of [
    [["nowhere.mjs"], /ERR_FILE/],
    [[file, "--topology"], /ERR_FLAG_VALUE: nbit explain: expected a value after --topology/],
    [[file, "--accelerator", "cpu", "--topology", "v5e:2x2"], /expected --accelerator tpu with/],
    [[file, "--ckptPath", "last"], /ERR_FLAG: nbit explain: expected a flag that it knows. Received: --ckptPath/],
    [[file, "--precisoin", "16"], /ERR_FLAG: .*expected --precision/],
  ] as const) {
    const said = mock.method(console, "error", () => undefined);
    assert.equal(await main(["explain", ...args]), 2, args.join(" "));
    assert.match(String(said.mock.calls[0]?.arguments), words);
    said.mock.restore();
  }
  const said = mock.method(console, "log", () => undefined);
  assert.equal(await main(["explain", "--help"]), 0);
  assert.match(String(said.mock.calls[0]?.arguments), /-topology NAME/);
  said.mock.restore();
});

interface Program {
  readonly what: string;
  readonly memory: { readonly arguments: number; readonly peak: number };
  readonly collectives: Readonly<Record<string, number>>;
}
interface Data {
  readonly devices: number;
  readonly kind: string;
  readonly precision: { readonly name: string };
  readonly programs: readonly Program[];
}
async function data(...args: string[]): Promise<Data> {
  const { status, stdout, stderr } = await explain(...args, "--json");
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Data;
}

test("a step is compiled for chips that are not there", needsTpu, async () => {
  const { status, stdout, stderr } = await explain("program.mjs", "--accelerator", "tpu", "--topology", "v5e:2x4");
  assert.equal(status, 0, stderr);
  assert.match(stderr, /WARN_PRECISION_MAPPED/);
  assert.match(stdout, /^topology +v5e:2x4, 8 × TPU v5 lite/);
  assert.match(stdout, /asked 16, runs bf16-mixed/);
  assert.match(stdout, /^ +memory +peak .* of the device's 1\d\.\d GiB$/m);
  assert.match(stdout, /^ +collectives +\d+ all-reduce/m);
  assert.doesNotMatch(stdout, /trained/);
});

test("windows of batches are several programs, and a split state takes less of each device", needsCpu, async () => {
  const whole = await data("module.mjs", "--topology", "cpu:4");
  const split = await data("module.mjs", "--topology", "cpu:4", "--strategy", "fsdp");
  assert.deepEqual(
    whole.programs.map(({ what }) => what),
    ["first batch of a window", "last batch of a window"],
  );
  assert.equal(whole.devices, 4);
  assert.equal(whole.precision.name, "bf16-mixed");
  const last = ({ programs }: Data): Program => programs[1] as Program;
  assert.ok(last(split).memory.arguments < 0.4 * last(whole).memory.arguments);
  assert.ok((last(split).collectives["all-gather"] ?? 0) > 0);
  assert.equal(last(whole).collectives["all-gather"], undefined);
});

test(
  "an operator without a lowering, or a batch that does not divide, is named with the user's line",
  needsCpu,
  async () => {
    const { status, stderr } = await explain("determinant.mjs", "--topology", "cpu:1");
    assert.equal(status, 1);
    assert.match(stderr, /^XLA_NO_LOWERING: .*_linalg_det .*determinant\.mjs:\d+/s);
    const odd = await explain("program.mjs", "--topology", "cpu:3");
    assert.equal(odd.status, 1);
    assert.match(odd.stderr, /^XLA_SHARDING: .*a multiple of 3 devices/m);
  },
);
