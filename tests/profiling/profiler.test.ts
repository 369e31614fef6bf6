/** What a profiler records, and the files that it writes. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import {
  autograd,
  cuda,
  manualSeed,
  nn,
  ones,
  profiler,
  randn,
  relu,
  setNumThreads,
  traceOperators,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";

setNumThreads(1);
manualSeed(0);
const { profile, ProfilerAction, recordFunction, schedule, tensorboardTraceHandler } = profiler;

class Net extends nn.Module {
  readonly first = new nn.Linear(8, 16);
  readonly second = new nn.Linear(16, 4);
  override forward(x: Tensor): Tensor {
    return this.second.forward(relu(this.first.forward(x)));
  }
}
const net = new Net();
const x = randn([5, 8]);
function step(): void {
  net.zeroGrad();
  net.forward(x).sum().backward();
}
step();

test("operators have their times, shapes, FLOPs, modules and places, and sums add up", () => {
  const prof = profile(
    { activities: ["cpu"], recordShapes: true, withFlops: true, withStack: true, withModules: net },
    () => recordFunction("mine", step),
  );
  const events = prof.events().toArray();
  const addmm = events.filter(({ name }) => name === "aten::addmm");
  assert.deepEqual(
    addmm.map(({ inputShapes }) => inputShapes?.slice(0, 3)),
    [
      [[16], [5, 8], [8, 16]],
      [[4], [5, 16], [16, 4]],
    ],
  );
  assert.deepEqual(
    addmm.map(({ moduleHierarchy }) => moduleHierarchy),
    [
      ["Net", "Net.first"],
      ["Net", "Net.second"],
    ],
  );
  for (const { stack } of addmm) assert.match(stack[0] ?? "", /profiler\.test\.ts\(\d+\): Net\.forward$/);
  const mms = events.filter(({ name, cpuParent }) => name === "aten::mm" && cpuParent !== null);
  assert.equal(mms.length, 3);
  for (const { stack } of mms) assert.match(stack[0] ?? "", /Net\.forward$/, "of the forward operator");
  assert.equal(events.filter(({ flops }) => flops > 0).length > 0, true);

  const mine = events.find(({ name }) => name === "mine");
  assert.ok(mine?.isUserAnnotation === true && mine.cpuChildren.length > 1);
  for (const event of events) {
    assert.ok(event.selfCpuTimeTotal >= -1e-6 && event.selfCpuTimeTotal <= event.cpuTimeTotal + 1e-6);
    for (const child of event.cpuChildren) assert.equal(child.cpuParent, event);
  }
  const averages = prof.keyAverages().toArray();
  const total = (of: (e: profiler.EventFigures) => number, list: readonly profiler.EventFigures[]): number =>
    list.reduce((sum, e) => sum + of(e), 0);
  for (const of of [(e: profiler.EventFigures) => e.count, (e: profiler.EventFigures) => e.flops])
    assert.equal(total(of, averages), total(of, events));
  const self = (e: profiler.EventFigures): number => e.selfCpuTimeTotal;
  assert.ok(Math.abs(total(self, averages) - total(self, events)) < 1e-3);
  assert.ok(Math.abs(prof.events().selfCpuTimeTotal - total(self, events)) < 1e-3);
  const top = events.filter(({ cpuParent, deviceType }) => cpuParent === null && deviceType === "cpu");
  assert.ok(
    Math.abs(total((e) => e.cpuTimeTotal, top) - total(self, events)) < 1e-3,
    "selfs of all are the tops' totals",
  );
  assert.equal(
    prof
      .keyAverages(true)
      .toArray()
      .filter(({ key }) => key === "aten::addmm").length,
    2,
  );
  assert.equal(
    prof
      .keyAverages({ groupByStackN: 1 })
      .toArray()
      .filter(({ key }) => key === "aten::addmm").length,
    1,
  );
  assert.equal(prof.events().totalAverage()?.count, events.length);
});

test("a table is sorted, limited, and says what was recorded", () => {
  const prof = profile({ activities: [profiler.ProfilerActivity.CPU], profileMemory: true }, step);
  const table = prof.keyAverages().table({ sortBy: "self_cpu_time_total", rowLimit: 3, timeUnit: "us" });
  const lines = table.split("\n");
  assert.match(
    lines[1] ?? "",
    /Name +Self CPU % +Self CPU +CPU total % +CPU total +CPU time avg +CPU Mem +Self CPU Mem +# of Calls/,
  );
  const selfs = lines.slice(3, 6).map((line) => Number(/([\d.]+)us/.exec(line)?.[1]));
  assert.deepEqual(
    selfs,
    [...selfs].sort((a, b) => b - a),
  );
  assert.match(lines[7] ?? "", /^Self CPU time total: [\d.]+us$/);
  assert.equal(lines.length, 9);
  assert.throws(() => prof.keyAverages().table({ sortBy: "cpu" as never }), { code: "ERR_ARGUMENT" });
  assert.throws(() => prof.keyAverages().table({ rows: 3 } as never), { code: "ERR_ARGUMENT" });
});

test("memory is that of the tensors, in operators and over time", () => {
  let kept: Tensor | null = null;
  const prof = profile({ activities: ["cpu"], profileMemory: true }, () => {
    const a = ones([1000]);
    kept = a.add(1);
    a.dispose();
  });
  const add = prof
    .events()
    .toArray()
    .find(({ name }) => name === "aten::add");
  assert.equal(add?.cpuMemoryUsage, 4000);
  const { bytes, peak, times } = prof.memoryTimeline();
  assert.equal((bytes.at(-1) ?? 0) - (bytes[0] ?? 0), 4000);
  assert.ok(peak - (bytes[0] ?? 0) >= 8000);
  assert.deepEqual(
    [...times],
    [...times].sort((p, q) => p - q),
  );
  (kept as Tensor | null)?.dispose();
  assert.throws(() => profile({ activities: ["cpu"] }, step).memoryTimeline(), { code: "ERR_ARGUMENT" });
});

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly ts: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}
test("the trace file is in Chrome's format, with stacks and metadata", () => {
  const folder = temporaryFolder("trace");
  const prof = profile({ activities: ["cpu"], recordShapes: true, withStack: true, profileMemory: true }).start();
  prof.addMetadata("who", 'a "test"');
  recordFunction("mine", step);
  prof.stop();
  const path = join(folder, "trace.json");
  prof.exportChromeTrace(path);
  const trace = JSON.parse(readFileSync(path, "utf8")) as {
    readonly traceEvents: readonly TraceEvent[];
    readonly who: string;
    readonly schemaVersion: number;
  };
  assert.equal(trace.who, 'a "test"');
  assert.equal(trace.schemaVersion, 1);
  const complete = trace.traceEvents.filter(({ ph }) => ph === "X");
  assert.ok(complete.every(({ ts, dur }) => typeof ts === "number" && (dur ?? -1) >= 0));
  const named = (name: string): TraceEvent[] => complete.filter((e) => e.name === name);
  assert.equal(named("aten::addmm").length, 2);
  assert.equal(named("aten::addmm")[0]?.cat, "cpu_op");
  assert.match(String(named("aten::addmm")[0]?.args?.["Call stack"]), /Net\.forward$/);
  assert.equal(named("mine")[0]?.cat, "user_annotation");
  assert.ok(trace.traceEvents.some(({ name }) => name === "[memory]"));
  const counted = prof
    .events()
    .toArray()
    .filter(({ name }) => name === "aten::mm").length;
  assert.equal(named("aten::mm").length, counted);

  prof.exportChromeTrace(`${path}.gz`);
  assert.equal(gunzipSync(readFileSync(`${path}.gz`)).toString(), readFileSync(path, "utf8"));
  prof.exportStacks(join(folder, "stacks.txt"));
  assert.match(readFileSync(join(folder, "stacks.txt"), "utf8"), /^\S+;\S*Net\.forward \d+$/m);
  prof.exportMemoryTimeline(join(folder, "memory.html"));
  assert.match(readFileSync(join(folder, "memory.html"), "utf8"), /<path d="M0 320L/);
  prof.exportMemoryTimeline(join(folder, "memory.json"));
  assert.equal((JSON.parse(readFileSync(join(folder, "memory.json"), "utf8")) as { device: string }).device, "cpu");
  assert.throws(() => prof.exportChromeTrace(join(folder, "none", "trace.json")), /none/);
  assert.deepEqual(readdirSync(folder).sort(), [
    "memory.html",
    "memory.json",
    "stacks.txt",
    "trace.json",
    "trace.json.gz",
  ]);
});

test("a schedule records cycles, each a trace of its own", () => {
  const folder = temporaryFolder("schedule");
  const seen: [number, number][] = [];
  const handler = tensorboardTraceHandler(folder, { workerName: "me" });
  const prof = profile({
    activities: ["cpu"],
    schedule: schedule({ skipFirst: 1, wait: 1, warmup: 1, active: 2, repeat: 2 }),
    onTraceReady: (ready) => {
      const steps = ready
        .events()
        .toArray()
        .filter(({ name }) => name === "ProfilerStep*");
      seen.push([ready.stepNum, steps.length]);
      handler(ready);
    },
  }).start();
  for (let i = 0; i < 12; i++) {
    step();
    prof.step();
  }
  prof.stop();
  assert.deepEqual(seen, [
    [5, 2],
    [9, 2],
  ]);
  const files = readdirSync(folder);
  assert.equal(files.length, 2);
  for (const file of files) assert.match(file, /^me\.\d{19}\.pt\.trace\.json$/);
});

test("schedules are PyTorch's", () => {
  const of = (s: profiler.Schedule, n: number): string => Array.from({ length: n }, (_, i) => s(i)[0]).join("");
  const { NONE, WARMUP, RECORD, RECORD_AND_SAVE } = ProfilerAction;
  assert.deepEqual([NONE, WARMUP, RECORD, RECORD_AND_SAVE], ["none", "warmup", "record", "recordAndSave"]);
  assert.equal(of(schedule({ wait: 1, warmup: 1, active: 2 }), 8), "nwrrnwrr");
  assert.equal(of(schedule({ wait: 1, warmup: 1, active: 1, repeat: 1, skipFirst: 2 }), 8), "nnnwrnnn");
  assert.equal(of(schedule({ wait: 2, warmup: 0, active: 1, skipFirstWait: 1 }), 6), "rnnrnn");
  assert.equal(schedule({ wait: 0, warmup: 0, active: 1 })(0), RECORD_AND_SAVE);
  assert.throws(() => schedule({ wait: 1, warmup: 1, active: 0 }), { code: "ERR_ARGUMENT" });
  assert.throws(() => schedule({ wait: 1, warmup: 1 } as never), /active/);
});

test("what is wrong is an error before anything runs, and leaves nothing behind", () => {
  assert.throws(() => profile({ activities: ["gpu" as never] }), { code: "ERR_ARGUMENT" });
  assert.throws(() => profile({ activities: [] }), { code: "ERR_ARGUMENT" });
  assert.throws(() => profile({ recordShape: true } as never), /recordShapes/);
  assert.throws(() => profile({ withModules: true as never }), /the model/);
  assert.throws(() => profile({ schedule: (() => "often") as never }), /ProfilerAction/);
  const prof = profile({ activities: ["cpu"] });
  assert.throws(() => prof.events(), { code: "PROFILER_STATE" });
  assert.throws(() => prof.step(), { code: "PROFILER_STATE" });
  prof.start();
  assert.throws(() => profile({ activities: ["cpu"] }).start(), { code: "PROFILER_NESTED" });
  assert.throws(() => prof.start(), { code: "PROFILER_STATE" });
  prof.stop();
  prof.stop();
  assert.throws(
    () =>
      profile({ activities: ["cpu"], withStack: true, withModules: net }, () => {
        throw new Error("mine");
      }),
    /mine/,
  );
  assert.equal(Object.hasOwn(net, "forward"), false, "modules are as they were");
  const again = profile({ activities: ["cpu"] }, step);
  assert.ok(again.events().length > 0);
  if (!cuda.isAvailable()) {
    assert.throws(() => profile({ activities: ["cuda"] }), /which this machine has/);
    assert.throws(() => autograd.profiler.emitNvtx(step), { code: "PROFILER_NO_CUDA" });
  }
});

test("asynchronous functions are recorded until they settle, and ranges may stay open", async () => {
  const prof = await profile({ activities: ["cpu"] }, async () => {
    await recordFunction("waits", async () => {
      await new Promise((resolve) => setImmediate(resolve));
      step();
    });
    const range = recordFunction("open");
    step();
    range.end();
    range.end();
  });
  const children = (name: string): readonly string[] =>
    prof
      .events()
      .toArray()
      .find((e) => e.name === name)
      ?.cpuChildren.map((e) => e.name) ?? [];
  assert.ok(children("waits").includes("aten::linear"));
  assert.ok(children("open").includes("aten::linear"));
  assert.equal(
    recordFunction("nobody looks", () => 3),
    3,
  );
});

test("traces of operators and the anomaly mode work within a profiler", () => {
  const prof = profile({ activities: ["cpu"], withStack: true }, () => {
    assert.equal(traceOperators(() => net.forward(x)).events.filter(({ name }) => name === "aten::addmm").length, 2);
    autograd.detectAnomaly(step);
    step();
  });
  assert.equal(
    prof
      .events()
      .toArray()
      .filter(({ name }) => name === "aten::addmm").length,
    6,
  );
  assert.equal(existsSync("trace.json"), false);
});

test("marks for Intel's tools run the function", () => {
  assert.equal(
    autograd.profiler.emitItt(() => 3),
    3,
  );
  step();
});

test("a process, or a thread, that ends with a profiler running ends well", () => {
  const main = `import { ones, profiler } from "@nbit/torch"; import { Worker } from "node:worker_threads";
    const start = () => { profiler.profile({ activities: ["cpu"], profileMemory: true }).start(); ones([3]).add(1); };
    const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(
      \`import { ones, profiler } from "\${import.meta.resolve("@nbit/torch")}"; (\${start})();\`)));
    worker.on("exit", (code) => { if (code === 0) start(); });`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", main], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
});
