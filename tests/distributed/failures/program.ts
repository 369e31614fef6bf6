/** What one rank does in a case of failures.test.ts. Says on a line what became of it, and ends with a code of its own. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker, isMainThread, workerData } from "node:worker_threads";
import { DistributedError, empty, full, nn, ones, randn } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { CAUGHT } from "../../helpers/rank-errors.js";

const [name = "", given = "{}"] = isMainThread ? process.argv.slice(2) : [String(workerData)];
const rank = Number(process.env.RANK);
const say = (value: object): void => {
  console.log(JSON.stringify(value));
};

/** Joins, at step 3, with limits of a few seconds. */
async function join(options: dist.InitProcessGroupOptions = {}): Promise<void> {
  const limits = { timeout: 20_000, heartbeatTimeout: 4000, connectTimeout: 60_000 };
  await dist.initProcessGroup({ ...limits, ...(JSON.parse(given) as dist.InitProcessGroupOptions), ...options });
  dist.setStep(3);
  dist.barrier();
}
const die = (): void => {
  process.kill(process.pid, "SIGKILL");
};
const sum = (): void => {
  dist.allReduce(full([4], 1));
};
/** Gradients averaged in several buckets; `inside` runs in the middle of the backward of step 4. */
function trainingLoop(inside: () => void, steps = 100): void {
  const layers = Array.from({ length: 6 }, () => new nn.Linear(64, 64));
  const model = new nn.Sequential(...layers);
  const reducer = new dist.Reducer([...model.namedParameters()], { bucketBytes: 20_000, firstBucketBytes: 20_000 });
  for (let step = 0; step < steps; step++) {
    dist.setStep(step);
    reducer.beforeForward(true);
    const hidden = layers.slice(0, 3).reduce((x, layer) => layer.forward(x), randn([8, 64]));
    if (step === 4) hidden.registerHook(inside);
    const loss = layers
      .slice(3)
      .reduce((x, layer) => layer.forward(x), hidden)
      .sum();
    reducer.beforeBackward([loss]);
    loss.backward();
    reducer.afterBackward();
  }
}

const cases: Readonly<Record<string, () => Promise<void>>> = {
  "killed in a collective": async () => {
    await join();
    if (rank === 1) setTimeout(die, 50);
    await dist.allReduce(full([4], 1), { asyncOp: true });
    if (rank === 1) await sleep(60_000);
    sum();
  },
  "rank 0 killed": async () => {
    await join();
    if (rank === 0) die();
    sum();
  },
  "killed in a backward": async () => {
    await join();
    trainingLoop(() => {
      if (rank === 1) die();
    });
  },
  "killed while others compute": async () => {
    await join();
    if (rank === 1) die();
    await sleep(700);
    sum();
  },
  stopped: async () => {
    await join();
    if (rank === Number(process.env.STOPS ?? 1)) process.kill(process.pid, "SIGSTOP");
    sum();
  },
  "stopped in a backward": async () => {
    await join();
    trainingLoop(() => {
      if (rank === 1) process.kill(process.pid, "SIGSTOP");
    });
  },
  "endless loop": async () => {
    await join();
    if (rank === 1) for (;;);
    sum();
  },
  throws: async () => {
    await join();
    if (rank === Number(process.env.THROWS ?? 1)) throw new RangeError("boom 17");
    sum();
  },
  "ends early": async () => {
    await join();
    if (rank === 1) process.exit(0);
    sum();
  },
  "leaves early": async () => {
    await join();
    if (rank === 1) await dist.destroyProcessGroup();
    else dist.barrier();
  },
  "asynchronous work": async () => {
    await join();
    if (rank === 1) die();
    const [a, b] = [full([4], 1), full([5], 1)];
    const works = [dist.allReduce(a, { asyncOp: true, group: await plain() }), dist.allReduce(b, { asyncOp: true })];
    const ended = await Promise.allSettled(works);
    say({ states: ended.map((e) => e.status) });
    for (const e of ended) if (e.status === "rejected") throw e.reason;
  },
  "different order": async () => {
    await join({ verify: false });
    // Nobody compares: both wait, each for the other.
    const [even, odd] = [await dist.newGroup(), await dist.newGroup()];
    dist.barrier({ group: rank === 0 ? even : odd });
  },
  "skips a backward": async () => {
    await join();
    const layer = new nn.Linear(8, 8);
    const reducer = new dist.Reducer([...layer.namedParameters()]);
    reducer.beforeForward(true);
    const loss = layer.forward(ones([1, 8])).sum();
    reducer.beforeBackward([loss]);
    if (rank === 0) loss.backward();
    dist.barrier();
  },
  "collectives without end": async () => {
    await join();
    for (let step = 0; ; step++) {
      dist.setStep(step);
      sum();
      await sleep(1);
      if (step === 10) say({ running: true });
    }
  },
  "backwards without end": async () => {
    await join();
    trainingLoop(() => {
      say({ running: true });
    }, Infinity);
  },
  "a sum": async () => {
    await join();
    for (let i = 0; i < 5; i++) sum();
    say({ summed: true });
    await sleep(Number(process.env.STAYS ?? 0));
    await dist.destroyProcessGroup();
  },
  connects: async () => {
    await join();
    await dist.destroyProcessGroup();
  },
  "again and again": async () => {
    // The first time nobody comes in time; ports and places must be free afterwards.
    const lonely = { rank: 0, worldSize: 2, connectTimeout: 300, initMethod: `tcp://127.0.0.1:${process.env.SPARE}` };
    const first = rank === 0 ? await dist.initProcessGroup(lonely).catch((e: unknown) => e) : null;
    say({ first: first instanceof Error && "code" in first ? first.code : null });
    for (let i = 0; i < 3; i++) {
      await join();
      await dist.initProcessGroup().then(
        () => say({ second: "joined" }),
        (e: unknown) => say({ second: (e as DistributedError).code }),
      );
      // Begun, and never waited for; its tensor is gone before it is.
      const left = full([1 << 16], 1);
      dist.allReduce(left, { asyncOp: true });
      left.dispose();
      const late = dist.allReduce(ones([2]), { asyncOp: true });
      await Promise.all([dist.destroyProcessGroup(), dist.destroyProcessGroup()]);
      try {
        late.wait();
      } catch (e) {
        say({ late: (e as Error).name });
      }
    }
    say({ initialized: dist.isInitialized() });
  },
  worker: async () => {
    await join();
    const worker = new Worker(new URL(import.meta.url), { workerData: "in a worker" });
    const [message] = (await once(worker, "message")) as [string];
    await once(worker, "exit");
    say({ worker: message });
    sum();
    await dist.destroyProcessGroup();
    // One that ends without having left leaves nothing behind.
    const other = new Worker(new URL(import.meta.url), { workerData: "joins alone" });
    await once(other, "exit");
    await join();
    await dist.destroyProcessGroup();
  },
  misuse: async () => {
    await join();
    sum();
    dist.allReduce(empty([2], { device: "meta" }));
  },
};

async function plain(): Promise<dist.ProcessGroup | null> {
  return Promise.resolve(null);
}

async function inWorker(): Promise<void> {
  const { parentPort } = await import("node:worker_threads");
  if (name === "joins alone") {
    await dist.initProcessGroup({ rank: 0, worldSize: 1, initMethod: "tcp://127.0.0.1:0" });
    process.exit(0);
  }
  const error = await dist.initProcessGroup().catch((e: unknown) => e);
  parentPort?.postMessage(error instanceof DistributedError ? error.code : "joined");
}

if (!isMainThread) await inWorker();
else if (name !== "") {
  const run = cases[name];
  if (run === undefined) throw new Error(`no case ${name}`);
  try {
    await run();
    say({ done: true });
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    say({ error: { class: error.name, code: error.code, message: error.message } });
    process.exitCode = CAUGHT;
    await dist.destroyProcessGroup({ inOrder: false }).catch(() => undefined);
  }
}
