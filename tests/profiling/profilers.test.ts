/** Profilers of a Trainer: what they report, write and find. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  AdvancedProfiler,
  bottleneckOf,
  Callback,
  LightningModule,
  PassThroughProfiler,
  type Profiler,
  PyTorchProfiler,
  SimpleProfiler,
  Trainer,
  type BottleneckFigures,
  type TrainerOptions,
} from "@nbit/lightning";
import { manualSeed, nn, optim, profiler, randn, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
manualSeed(1);

class Net extends LightningModule {
  readonly layer = new nn.Linear(8, 4);
  override trainingStep(batch: Tensor): Tensor {
    return this.layer.forward(batch).square().mean();
  }
  override validationStep(batch: Tensor): void {
    this.layer.forward(batch);
  }
  override onTrainStart(): void {}
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
class Watch extends Callback {
  override async onTrainEpochEnd(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
const batches = Array.from({ length: 7 }, () => randn([4, 8]));
async function fit(given: TrainerOptions): Promise<Trainer> {
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1, callbacks: new Watch(), ...given });
  await trainer.fit(new Net(), { trainDataloaders: batches, valDataloaders: batches.slice(0, 2) });
  return trainer;
}

/** What is written to the terminal while something runs. */
async function printed(run: () => Promise<unknown>): Promise<string> {
  const write = process.stdout.write.bind(process.stdout);
  let text = "";
  process.stdout.write = ((chunk: string | Uint8Array, ...rest: never[]): boolean => {
    if (typeof chunk === "string" && /Profiler Report|Bottleneck/.test(chunk)) {
      text += chunk;
      return true;
    }
    return write(chunk, ...rest);
  }) as typeof process.stdout.write;
  try {
    await run();
  } finally {
    process.stdout.write = write;
  }
  return text;
}

test("the simple profiler prints a table of every action, and what the run waited for", async () => {
  const text = await printed(() => fit({ profiler: "simple" }));
  const lines = text.split("\n");
  assert.equal(lines[0], "FIT Profiler Report");
  assert.match(
    text,
    /\| {2}Action +\| {2}Mean duration \(s\) +\| {2}Num calls +\| {2}Total time \(s\) +\| {2}Percentage % +\|/,
  );
  const calls = (action: string): number =>
    Number(
      lines
        .find((line) => line.startsWith(`|  ${action} `))
        ?.split("|")[3]
        ?.trim() ?? NaN,
    );
  assert.equal(calls("run_training_epoch"), 1);
  assert.equal(calls("run_training_batch"), 7);
  assert.equal(calls("[_TrainingEpochLoop].train_dataloader_next"), 7);
  assert.equal(calls("[Strategy]SingleDeviceStrategy.trainingStep"), 7);
  assert.equal(calls("[Strategy]SingleDeviceStrategy.backward"), 7);
  assert.equal(calls("[LightningModule]Net.optimizerStep"), 7);
  assert.equal(calls("[LightningModule]Net.onTrainStart"), 1);
  assert.equal(calls("[Callback]Watch.onTrainEpochEnd"), 1);
  assert.equal(calls("[Strategy]SingleDeviceStrategy.validationStep"), 4);
  const total = lines
    .filter((line) => /^\| {2}(run|\[)/.test(line))
    .reduce((sum, line) => sum + Number(line.split("|")[3]), 0);
  assert.equal(calls("Total"), total);
  assert.match(text, /^Bottleneck: (data|launching|computing|not the data): .*\d+ %/m);
});

test("a report goes to its file, one run behind the other", async () => {
  const folder = temporaryFolder("profile");
  const own = new SimpleProfiler({ dirpath: folder, filename: "times", extended: false });
  assert.equal(await printed(() => fit({ profiler: own })), "");
  await printed(() => fit({ profiler: own }));
  const text = readFileSync(join(folder, "fit-times.txt"), "utf8");
  assert.equal(text.match(/^FIT Profiler Report$/gm)?.length, 2);
  assert.match(text, /\| {2}Action +\| {2}Mean duration \(s\) +\| {2}Total time \(s\) +\|/);
  assert.deepEqual(readdirSync(folder), ["fit-times.txt"]);
});

test("actions of one's own, and mistakes with them", async () => {
  const own = new SimpleProfiler();
  assert.equal(
    own.profile("load", () => 3),
    3,
  );
  assert.equal(await own.profile("wait", async () => 4), 4);
  assert.deepEqual([...own.durations.keys()], ["load", "wait"]);
  own.start("a");
  assert.throws(() => own.start("a"), { code: "PROFILER_ACTION" });
  assert.throws(() => own.stop("b"), { code: "PROFILER_ACTION" });
  assert.throws(() => new AdvancedProfiler().stop("b"), { code: "PROFILER_ACTION" });
  assert.throws(() => own.profile("fails", () => assert.fail("mine")), /mine/);
  assert.match(own.summary(), /fails/);
  assert.throws(() => new Trainer({ ...QUIET, profiler: "fast" }), { code: "ERR_PROFILER" });
  assert.throws(() => new SimpleProfiler({ file: "x" } as never), { code: "ERR_ARGUMENT" });
  assert.throws(() => new PyTorchProfiler({ recordShape: true } as never), { code: "ERR_ARGUMENT" });
  assert.throws(() => new PyTorchProfiler({ recordShapes: 1 as never }), { code: "ERR_ARGUMENT" });
  assert.throws(() => new PyTorchProfiler({ tableKwargs: { rowLimit: 3 } as never }), { code: "ERR_ARGUMENT" });
  assert.ok(new Trainer({ ...QUIET }).profiler instanceof PassThroughProfiler);
  assert.ok(new Trainer({ ...QUIET, profiler: null }).profiler instanceof PassThroughProfiler);
});

test("the advanced profiler lists functions of each action, and writes V8's profile", async () => {
  const folder = temporaryFolder("advanced");
  class Busy extends Net {
    override trainingStep(batch: Tensor): Tensor {
      const end = performance.now() + 20;
      let spins = 0;
      while (performance.now() < end) spins++;
      return super.trainingStep(batch).mul(spins > 0 ? 1 : 0);
    }
  }
  const own = new AdvancedProfiler({ dirpath: folder, filename: "run", dumpStats: true, lineCountRestriction: 12 });
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1, profiler: own });
  await trainer.fit(new Busy(), { trainDataloaders: batches });
  const text = readFileSync(join(folder, "fit-run.txt"), "utf8");
  const section = text
    .split("Profile stats for: ")
    .find((part) => part.startsWith("[Strategy]SingleDeviceStrategy.trainingStep"));
  assert.match(section ?? "", /^7 calls in 0\.\d+ seconds$/m);
  assert.match(section ?? "", /trainingStep \(.*profilers\.test\.js:\d+\)/);
  assert.ok((section ?? "").split("\n").length <= 17);
  const profile = JSON.parse(readFileSync(join(folder, "fit-run.cpuprofile"), "utf8")) as {
    readonly nodes: readonly unknown[];
    readonly samples: readonly number[];
    readonly timeDeltas: readonly number[];
  };
  assert.ok(profile.nodes.length > 0 && profile.samples.length === profile.timeDeltas.length);
});

test("the operators of a few steps are recorded, with modules and actions around them", async () => {
  const folder = temporaryFolder("pytorch");
  const own = new PyTorchProfiler({
    dirpath: folder,
    filename: "ops",
    profileMemory: true,
    rowLimit: 5,
    activities: ["cpu"],
  });
  const trainer = await fit({ profiler: own });
  assert.equal(trainer.replayedBatches, 0, "steps run eagerly");
  const text = readFileSync(join(folder, "fit-ops.txt"), "utf8");
  assert.match(text, /^FIT Profiler Report\nProfile stats for: records\n/);
  assert.match(text, /^Self CPU time total: /m);
  assert.deepEqual(
    readdirSync(folder)
      .map((name) => name.replace(/\d{10,}/, "T"))
      .sort(),
    ["fit-ops-memory.html", "fit-ops.T.pt.trace.json", "fit-ops.txt"],
  );
  const trace = JSON.parse(readFileSync(own.files[0] ?? "", "utf8")) as {
    readonly traceEvents: readonly { readonly name: string; readonly ph: string }[];
    readonly Framework: string;
  };
  assert.equal(trace.Framework, "nbit");
  const count = (name: string): number => trace.traceEvents.filter((e) => e.ph === "X" && e.name === name).length;
  assert.equal(count("aten::addmm"), 3);
  assert.equal(count("nn.Module: Net.layer"), 3);
  assert.equal(count("[pl][profile][Strategy]SingleDeviceStrategy.trainingStep"), 3);
  for (const n of [2, 3, 4]) assert.equal(count(`ProfilerStep#${n}`), 1);
  const addmm = own.recorded
    ?.events()
    .toArray()
    .find(({ name }) => name === "aten::addmm");
  assert.ok(addmm?.moduleHierarchy.includes("Net.layer"));
});

test("a run of fewer steps is recorded whole, and validation by itself too", async () => {
  const own = new PyTorchProfiler({ activities: ["cpu"], exportToChrome: false });
  await printed(() => fit({ profiler: own, limitTrainBatches: 2, limitValBatches: 0 }));
  assert.equal(
    own.recorded
      ?.keyAverages()
      .toArray()
      .find(({ key }) => key === "aten::addmm")?.count,
    2,
  );
  const second = new PyTorchProfiler({
    activities: ["cpu"],
    schedule: profiler.schedule({ wait: 0, warmup: 1, active: 2, repeat: 1 }),
  });
  const trainer = new Trainer({ ...QUIET, profiler: second });
  await printed(() => trainer.validate(new Net(), { dataloaders: batches }));
  assert.equal(
    second.recorded
      ?.keyAverages()
      .toArray()
      .find(({ key }) => key === "aten::addmm")?.count,
    2,
  );
});

test("a run that fails leaves no profiler running", async () => {
  class Fails extends Net {
    override trainingStep(): Tensor {
      throw new Error("mine");
    }
  }
  for (const own of [new PyTorchProfiler({ activities: ["cpu"] }), new AdvancedProfiler(), new SimpleProfiler()]) {
    const trainer = new Trainer({ ...QUIET, maxEpochs: 1, profiler: own });
    await assert.rejects(trainer.fit(new Fails(), { trainDataloaders: batches }), /mine/);
  }
  profiler
    .profile({ activities: ["cpu"] })
    .start()
    .stop();
});

test("results are the same with and without a profiler", async () => {
  const weights = async (profiler: string | Profiler | null): Promise<readonly number[]> => {
    manualSeed(3);
    const net = new Net();
    await printed(() => new Trainer({ ...QUIET, maxEpochs: 2, profiler }).fit(net, { trainDataloaders: batches }));
    return [...net.layer.weight.detach().toTypedArray()].map(Number);
  };
  const plain = await weights(null);
  assert.deepEqual(await weights("simple"), plain);
  assert.deepEqual(await weights(new PyTorchProfiler({ activities: ["cpu"], exportToChrome: false })), plain);
});

test("the bottleneck is named with the number behind it", () => {
  const base = { batches: 10, dataSeconds: 0.01, batchSeconds: 1 };
  const of = (figures: Partial<BottleneckFigures>) => bottleneckOf({ ...base, probe: null, ...figures });
  const data = of({ dataSeconds: 3 });
  assert.equal(data?.kind, "data");
  assert.equal(data?.share, 0.75);
  assert.match(
    data?.text ?? "",
    /^data: 75 % of training waited for batches \(300 ms a batch, beside 100 ms of computing\)/,
  );
  const operators = { kind: "operators", batches: 2, seconds: 0.2, operators: 200 } as const;
  assert.equal(of({ probe: { ...operators, operatorSeconds: 0.18 } })?.kind, "compute");
  assert.match(
    of({ probe: { ...operators, operatorSeconds: 0.1 } })?.text ?? "",
    /^launching: 100 operators a batch, 500 µs each, and 50 % of the time between them/,
  );
  assert.equal(
    of({ probe: { ...operators, operators: 40_000, operatorSeconds: 0.18 } })?.kind,
    "launch",
    "each is short",
  );
  assert.equal(of({ probe: { kind: "device", batches: 2, seconds: 0.2, waitSeconds: 0.01 } })?.kind, "launch");
  assert.match(
    of({ probe: { kind: "device", batches: 2, seconds: 0.2, waitSeconds: 0.15 } })?.text ?? "",
    /^computing: the host waited for the GPU in 75 %/,
  );
  assert.equal(of({ probe: { kind: "replayed", batches: 3 } })?.kind, "compute");
  assert.equal(of({})?.kind, "unknown");
  assert.equal(of({ batches: 0 }), null);
});

test("a loader that is slow is found", async () => {
  const folder = temporaryFolder("slow");
  function* slow(): IterableIterator<Tensor> {
    for (const batch of batches) {
      const end = performance.now() + 30;
      while (performance.now() < end);
      yield batch;
    }
  }
  const loader = { [Symbol.iterator]: slow, length: batches.length };
  const own = new SimpleProfiler({ dirpath: folder, filename: "run" });
  await new Trainer({ ...QUIET, maxEpochs: 1, profiler: own }).fit(new Net(), { trainDataloaders: loader });
  assert.match(readFileSync(join(folder, "fit-run.txt"), "utf8"), /^Bottleneck: data: \d+ % of training waited/m);
});
