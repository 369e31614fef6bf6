import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { ArgumentError } from "../../errors.js";
import { arange, ones, randn } from "../../ops/index.js";
import { getRngState, manualSeed, seedEverything } from "../../random.js";
import { memory, scope, tensor, type Tensor } from "../../tensor/index.js";
import { dropHandedOver, handOver, takeOver } from "../../tensor/hand-over.js";
import { workerSeed } from "../../worker-seeds.js";
import * as sets from "../../testing/worker-datasets.js";
import { DataLoader, DataWorkerError, Subset, TensorDataset, type DataLoaderOptions, type Source } from "../index.js";

const here = new URL("../../testing/worker-datasets.js", import.meta.url).href;

async function all<T, B>(loader: DataLoader<T, B>): Promise<B[]> {
  const batches: B[] = [];
  for await (const batch of loader) batches.push(batch);
  return batches;
}
const lists = (batches: readonly unknown[]): unknown =>
  JSON.parse(
    JSON.stringify(batches, (_, v: unknown) => (v instanceof Object && "tolist" in v ? (v as Tensor).tolist() : v)),
  );

test("batches, their order and what is left of the generator do not depend on workers", async () => {
  const data = new sets.Transformed(randn([11, 3]));
  const runs: unknown[] = [];
  for (const numWorkers of [0, 1, 3])
    for (const sync of numWorkers === 1 ? [true] : [true, false]) {
      manualSeed(5);
      const loader = new DataLoader(data, { batchSize: 2, shuffle: true, numWorkers });
      const passes = [];
      for (let i = 0; i < 2; i++) passes.push(lists(sync ? [...loader] : await all(loader)));
      runs.push([passes, scope(() => getRngState().sum().item())]);
    }
  for (const run of runs) assert.deepEqual(run, runs[0]);
});

test("tensors of the dataset and of batches share memory with the threads", async () => {
  const base = randn([4, 2]);
  const [whole] = await all(new DataLoader(new TensorDataset(base), { batchSize: null, numWorkers: 1 }));
  assert.ok(whole);
  base.fill_(7);
  assert.deepEqual(whole[0].tolist(), [7, 7]);
  const before = memory().unreleased;
  for await (const batch of new DataLoader(new sets.Transformed(base), { batchSize: 2, numWorkers: 2 }))
    for (const t of batch) t.dispose();
  assert.equal(memory().unreleased, before);
});

test("seeds of threads that no thread of another process has are Lightning's", async () => {
  // From lightning.fabric.utilities.seed._generate_seed_sequence(base, worker, rank, 1), Lightning 2.6.6.
  for (const [base, id, rank, expected] of [
    [0n, 0, 0, 1n],
    [42n, 1, 0, 11194860933575700206n],
    [2n ** 63n - 1n, 3, 5, 10923276041042240118n],
    [123456789012345n, 0, 1, 12900570515615987332n],
  ] as const)
    assert.equal(workerSeed(base, id, rank), expected);
  assert.equal(workerSeed(2n ** 64n - 1n, 2, null), 1n);

  const environment = process.env["NBIT_GLOBAL_SEED"];
  try {
    const seeds = async (workers: boolean): Promise<unknown[]> => {
      seedEverything(5, { workers });
      const facts = await all(new DataLoader(new sets.Facts(), { batchSize: null, numWorkers: 2 }));
      return (facts as Record<string, unknown>[]).map(({ seed }) => seed).slice(0, 2);
    };
    const [first] = await seeds(false);
    const base = BigInt(first as string);
    assert.deepEqual(await seeds(true), [workerSeed(base, 0, 0), workerSeed(base, 1, 0)].map(String));
  } finally {
    seedEverything(0);
    if (environment === undefined) delete process.env["NBIT_GLOBAL_SEED"];
    else process.env["NBIT_GLOBAL_SEED"] = environment;
  }
});

test("workers know themselves, draw for themselves from seeds of their own, and compute on one thread", async () => {
  manualSeed(3);
  const facts = (await all(
    new DataLoader(new sets.Facts(), { batchSize: null, numWorkers: 2, workerInitFn: sets.initialise }),
  )) as Record<string, unknown>[];
  const seed = BigInt(facts[0]?.["seed"] as string);
  assert.deepEqual(
    facts,
    [0, 1, 2, 3].map((i) => ({
      i,
      id: i % 2,
      numWorkers: 2,
      seed: String(seed + BigInt(i % 2)),
      initialised: 10 + (i % 2),
      threads: 1,
    })),
  );
  const draws = async (): Promise<unknown> => {
    manualSeed(8);
    const loader = new DataLoader(new sets.Noise(7), { batchSize: 1, numWorkers: 2 });
    const found = [];
    for await (const batch of loader) {
      randn([100]); // this thread's draws are none of theirs
      found.push(lists([batch]));
    }
    return [found, randn([2]).tolist()];
  };
  assert.deepEqual(await draws(), await draws());
  manualSeed(9);
  const alone = manualSeed(Number(seed % 1000n)) && sets.Noise.prototype.get.call({ length: 1 } as sets.Noise, 0).draw;
  assert.equal(alone.ndim, 1);
});

test("streams are read by every worker, in turns, until the last has ended", async () => {
  for (const persistentWorkers of [false, true]) {
    const shards = new DataLoader(new sets.Shards(10), { batchSize: 2, numWorkers: 3, persistentWorkers });
    for (let pass = 0; pass < 2; pass++)
      assert.deepEqual(lists(await all(shards)), [[0, 3], [1, 4], [2, 5], [6, 9], [7], [8]]);
    assert.deepEqual(lists([...shards]), [[0, 3], [1, 4], [2, 5], [6, 9], [7], [8]]);
  }
  const unequal = new DataLoader(new sets.Unequal(), { batchSize: null, numWorkers: 2 });
  assert.deepEqual(await all(unequal), ["0:0", "1:0", "0:1", "1:1", "0:2", "0:3", "0:4"]);
});

test("elements that come as promises, collate functions, subsets, datasets that workers make", async () => {
  assert.deepEqual(lists(await all(new DataLoader(new sets.Late(5), { batchSize: 2, numWorkers: 2 }))), [
    [0, 1],
    [4, 9],
    [16],
  ]);
  assert.deepEqual(
    await all(new DataLoader(new sets.Late(5), { batchSize: 2, numWorkers: 2, collateFn: sets.joined })),
    ["0+1", "4+9", "16"],
  );
  const subset = new Subset(new sets.Late(9), [3, 1, 2]);
  assert.deepEqual(
    [...new DataLoader(subset, 2, false, null, null, 1)].map((b) => b.tolist()),
    [[9, 1], [4]],
  );
  const made = new DataLoader<number>(
    { module: here, export: "makeSquares", args: [4, sets.offset(100)] },
    { batchSize: 2, shuffle: false, numWorkers: 2 },
  );
  assert.equal(made.length, 2);
  assert.deepEqual(
    [...made].map((b) => b.tolist()),
    [
      [100, 101],
      [104, 109],
    ],
  );
  const hidden = new DataLoader<number>({ dataset: { module: here, export: "Hidden" }, numWorkers: 1, batchSize: 4 });
  assert.deepEqual(
    [...hidden].map((b) => b.tolist()),
    [[4, 5, 6, 7]],
  );
  const stream = new DataLoader<number>({ module: here, export: "makeStream", args: [3] }, { numWorkers: 1 });
  assert.deepEqual([stream.length, [...stream].map((b) => b.tolist())], [null, [[0], [1], [2]]]);
});

test("without order, what is ready comes first", async () => {
  const found = await all(new DataLoader(new sets.Reversed(6), { batchSize: 1, numWorkers: 2, inOrder: false }));
  const order = found.map((b) => b.item());
  assert.deepEqual([...order].sort(), [0, 1, 2, 3, 4, 5]);
  assert.notEqual(order[0], 0);
});

const fails = (how: "throws" | "exits" | "hangs" | "rejects", timeout = 0): DataLoader<number> =>
  new DataLoader(new sets.Fails(9, 4, how), { batchSize: 2, numWorkers: 2, timeout });

test("errors of a worker come with their class and stack, in their turn", async () => {
  for (const sync of [true, false]) {
    const of = async (loader: DataLoader<number>, before: number): Promise<Error> => {
      const found: unknown[] = [];
      try {
        if (sync) for (const b of loader) found.push(b.tolist());
        else for await (const b of loader) found.push(b.tolist());
      } catch (error) {
        assert.equal(found.length, before);
        return error as Error;
      }
      return assert.fail("no error");
    };
    const began = performance.now();
    const thrown = await of(fails("throws"), 2);
    // Threads begin within the time that their first batch has: some tenths of a second, or many where all is slow.
    const timeout = Math.ceil((3 * (performance.now() - began)) / 1000);
    assert.ok(thrown instanceof TypeError);
    assert.equal(thrown.message, "element 4 is broken (in worker 0 of a DataLoader)");
    assert.match(thrown.stack ?? "", /worker-datasets/);
    assert.ok((await of(fails("rejects"), 2)) instanceof RangeError);
    const exited = await of(fails("exits"), 2);
    assert.match(exited.message, /worker 0 ended with code 3/);
    const late = await of(fails("hangs", timeout), 2);
    assert.ok(late instanceof DataWorkerError);
    assert.deepEqual([late.code, late.message], ["ERR_DATA_TIMEOUT", `DataLoader timed out after ${timeout} seconds`]);
  }
});

test("what cannot go to a thread is refused by name, with what to write", async () => {
  const refused = async (
    data: Source<unknown>,
    options: DataLoaderOptions<unknown, unknown>,
    message: RegExp,
  ): Promise<void> => {
    await assert.rejects(
      async () => {
        await all(new DataLoader(data, { numWorkers: 1, ...options }));
      },
      (error) => error instanceof ArgumentError && message.test(error.message),
    );
  };
  await refused(
    [1, 2],
    { collateFn: (x) => x },
    /collateFn to be (a function that a module exports|exported)|collateFn to be exported/,
  );
  await refused([() => 1], {}, /dataset\[0\] to be a function that a module exports/);
  await refused(new sets.Hidden(), {}, /#count, which only its own code can read\. Declare them `private`/);
  await assert.rejects(all(new DataLoader(new sets.Secretive(), { numWorkers: 1 })), /declare it `private`/);
  await refused(sets.unexported(), {}, /Private to be exported by its module/);
  await refused([1], { collateFn: sets.closes }, /batches\.a to be of what goes between threads/);
  await refused([1], { collateFn: Math.max.bind(null) as never }, /in no module's file/);
  const bad = (o: object, message: RegExp): void => {
    assert.throws(
      () => new DataLoader([1], o),
      (e) => e instanceof ArgumentError && message.test(e.message),
    );
  };
  for (const o of [
    { timeout: 1 },
    { prefetchFactor: 1 },
    { persistentWorkers: true },
    { workerInitFn: sets.initialise },
  ])
    bad(o, new RegExp(`${Object.keys(o)[0]} to be left out without workers`));
  bad({ numWorkers: 1, concurrency: 1 }, /concurrency to be left out/);
  bad({ multiprocessingContext: "spawn" }, /multiprocessingContext to be left out: workers are threads/);
  assert.throws(() => new DataLoader({ module: here, export: "Shards" }, {}), /numWorkers to be at least 1/);
  assert.throws(() => new DataLoader({ module: "nowhere", export: "x" }, { numWorkers: 1 }), /URL of a module/);
  assert.throws(() => new DataLoader({ module: here, export: "nothing" }, { numWorkers: 1 }), /nothing to be exported/);
});

test("a pass that is resumed gives the same batches, random draws of workers among them", async () => {
  const sources: [string, () => Source<unknown>][] = [
    ["positions", () => new sets.Noise(13)],
    ["stream", () => new sets.Shards(13)],
  ];
  for (const [name, source] of sources)
    for (const persistentWorkers of [false, true]) {
      const make = (): DataLoader<unknown, unknown> =>
        new DataLoader<unknown, unknown>(source(), {
          batchSize: 2,
          numWorkers: 2,
          persistentWorkers,
          ...(name === "positions" ? { shuffle: true } : {}),
        });
      manualSeed(21);
      const whole = make();
      const expected: unknown[] = [];
      const states: Record<string, unknown>[] = [];
      for (let pass = 0; pass < 2; pass++) {
        states.push(whole.stateDict());
        for await (const batch of whole) {
          expected.push(lists([batch]));
          states.push(whole.stateDict());
        }
      }
      for (const at of [0, 3, 7, 10].filter((n) => persistentWorkers || n === 3)) {
        manualSeed(21);
        const again = make();
        again.loadStateDict(states[at + (at >= 7 ? 1 : 0)] as Record<string, unknown>);
        const rest: unknown[] = [];
        for await (const batch of again) rest.push(lists([batch]));
        const end = at < 7 ? 7 : 14;
        assert.deepEqual(
          rest,
          expected.slice(at, end),
          `${name}, from ${at}, ${persistentWorkers ? "persistent" : ""}`,
        );
      }
    }
  const one = new DataLoader(new sets.Noise(9), { numWorkers: 1 });
  const iterator = one[Symbol.iterator]();
  iterator.next();
  const state = one.stateDict();
  iterator.return?.();
  assert.throws(() => new DataLoader(new sets.Noise(9), { numWorkers: 2 }).loadStateDict(state), /with 2 workers/);
});

/** Runs a program, which must end by itself. */
function program(code: string, flags: readonly string[] = []): string {
  const index = new URL("../../index.js", import.meta.url).href;
  const prelude = `import * as torch from ${JSON.stringify(index)}; import * as sets from ${JSON.stringify(here)};`;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [...flags, "--input-type=module", "-e", `${prelude}\n${code}`],
    { encoding: "utf8", timeout: 60_000 },
  );
  assert.equal(status, 0, stderr.slice(-2000));
  return stdout;
}

test("a process ends by itself: after a pass, after one that is left, and with iterators nobody holds", () => {
  const out = program(`
    const data = new sets.Noise(40);
    for await (const b of new torch.DataLoader(data, { numWorkers: 2 })) break;
    for (const b of new torch.DataLoader(data, { numWorkers: 2, persistentWorkers: true })) break;
    globalThis.held = new torch.DataLoader(data, { numWorkers: 2 })[Symbol.iterator]();
    held.next();
    try { for (const b of new torch.DataLoader(new sets.Fails(9, 4, "throws"), { numWorkers: 2 })); } catch (e) { console.log(e.name); }
    console.log("end");
  `);
  assert.equal(out, "TypeError\nend\n");
});

test("threads load modules as the program does, TypeScript among them", () => {
  const hook = `
    import { registerHooks, register } from "node:module";
    register("data:text/javascript," + encodeURIComponent(\`
      export async function load(url, context, next) {
        if (!url.startsWith("data:text/x-ts,")) return next(url, context);
        const source = decodeURIComponent(url.slice(15)).replaceAll(": number", "");
        return { format: "module", source, shortCircuit: true };
      }
      export async function resolve(specifier, context, next) {
        return specifier.startsWith("data:text/x-ts,") ? { url: specifier, shortCircuit: true, format: "module" } : next(specifier, context);
      }
    \`));`.replace("registerHooks, ", "");
  const ts = `data:text/x-ts,${encodeURIComponent("export class Squares { length = 3; get(i: number) { return i * i; } }")}`;
  const out = program(
    `const loader = new torch.DataLoader({ module: ${JSON.stringify(ts)}, export: "Squares" }, { numWorkers: 1, batchSize: 3 });
     for (const b of loader) console.log(JSON.stringify(b.tolist()));`,
    [`--import=data:text/javascript,${encodeURIComponent(hook)}`],
  );
  assert.equal(out, "[[0,1,4]]\n".replace("[[", "[").replace("]]", "]"));
});

test("a loader that is asked with workers inside a worker says so", () => {
  const nested = `data:text/javascript,${encodeURIComponent(
    `import { DataLoader } from ${JSON.stringify(new URL("../../index.js", import.meta.url).href)};
     export class Nested { length = 1; get() { return [...new DataLoader([1], { numWorkers: 1 })]; } }`,
  )}`;
  assert.throws(
    () => [...new DataLoader({ module: nested, export: "Nested" }, { numWorkers: 1 })],
    /numWorkers to be 0 in a worker/,
  );
  assert.deepEqual(arange(2).tolist(), tensor([0, 1]).tolist());
});

test("what is handed over is taken once, or let go of by its group; graphs stay with their thread", () => {
  const before = memory();
  const x = arange(4);
  const id = handOver(x, 1);
  const y = takeOver(id);
  x.fill_(3);
  y.resize_([2]);
  assert.deepEqual(
    [x.tolist(), y.tolist()],
    [
      [3, 3, 3, 3],
      [3, 3],
    ],
  );
  assert.throws(() => takeOver(id), /handed over and not taken yet/);
  const made = scope(() => ones([2], { requiresGrad: true }).mul(2));
  assert.throws(() => handOver(made, 1), /without a graph.*MulBackward0.*Detach it first/);
  handOver(x, 2);
  handOver(y, 2);
  handOver(y, 3);
  assert.deepEqual([2, 2, 3].map(dropHandedOver), [2, 0, 1]);
  for (const t of [x, y, made]) t.dispose();
  assert.equal(memory().unreleased, before.unreleased);
});
