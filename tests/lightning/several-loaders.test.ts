import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Callback, LightningModule, Trainer } from "@nbit/lightning";
import type { Batch, Loaders, TrainerOptions, TrainerView } from "@nbit/lightning";
import {
  arange,
  CombinedLoader,
  DataLoader,
  Generator,
  manualSeed,
  nn,
  rand,
  setNumThreads,
  Tensor,
  TensorDataset,
  type CombinedMode,
} from "@nbit/torch";
import { QUIET, warningsOf } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
const folder = mkdtempSync(join(tmpdir(), "nbit-several-loaders-"));
after(() => {
  rmSync(folder, { recursive: true });
});

interface Seen {
  readonly name: string;
  readonly train: readonly unknown[];
  readonly val: readonly unknown[];
  /** A random number after the run. */
  readonly after: number;
}
/** What Lightning trains on: made by lightning_data.py. */
const reference = JSON.parse(
  readFileSync(new URL("../../lightning/fixtures/lightning-data.json", import.meta.url), "utf8"),
) as {
  readonly batches: readonly Seen[];
  readonly reloads: readonly {
    readonly name: string;
    readonly loaded: readonly string[];
    readonly train: readonly unknown[];
    readonly after: number;
  }[];
};

class Reader extends LightningModule {
  readonly layer = new nn.Linear(1, 1);
  readonly train_: unknown[] = [];
  readonly val: unknown[] = [];
  override automaticOptimization = false;
  override trainingStep(batch: Batch): void {
    this.train_.push(plain(batch));
  }
  override validationStep(batch: Batch, batchIdx: number, dataloaderIdx: number): void {
    this.val.push([plain(batch), batchIdx, dataloaderIdx]);
  }
}
function plain(batch: unknown): unknown {
  if (batch instanceof Tensor) return batch.tolist();
  if (Array.isArray(batch)) return batch.map(plain);
  if (typeof batch === "object" && batch !== null)
    return Object.fromEntries(Object.entries(batch).map(([name, each]) => [name, plain(each)]));
  return batch;
}

/** Of numbers, one after the other: a TensorDataset gives lists of one, so that is taken out. */
class Numbers {
  constructor(
    readonly first: number,
    readonly length: number,
  ) {}
  get(i: number): Tensor {
    return arange(this.first + i, this.first + i + 1).reshape([]);
  }
}
const loader = (first: number, n: number, batchSize: number, shuffle = false): DataLoader<Tensor> =>
  new DataLoader<Tensor, Tensor>(new Numbers(first, n), { batchSize, shuffle }) as DataLoader<Tensor>;
type Kind = "list" | "record" | "nested" | "one";
function structure(kind: Kind): Exclude<Loaders, null | undefined> {
  const [a, b, c] = [loader(0, 7, 2, true), loader(100, 3, 1, true), loader(200, 4, 2)];
  return { list: [a, b], record: { a, b }, nested: { a, rest: [b, c] }, one: [a] }[kind];
}

async function seen(
  train: () => Loaders,
  val: (() => Loaders) | null,
  options: TrainerOptions,
): Promise<Omit<Seen, "name">> {
  const model = new Reader();
  void manualSeed(7);
  const trainer = new Trainer({ ...QUIET, maxEpochs: 2, numSanityValSteps: 0, ...options });
  await trainer.fit(model, { trainDataloaders: train(), valDataloaders: val?.() });
  return { train: model.train_, val: model.val, after: rand([]).item() };
}

/** What a case of the fixture is, by its name. */
function caseOf(name: string): { train: () => Loaders; val: (() => Loaders) | null; options: TrainerOptions } {
  const few = (): Loaders => loader(0, 4, 2);
  const mode = (["min_size", "max_size_cycle", "max_size", "sequential"] as const).find((each) => name.includes(each));
  const kind = (["list", "record", "nested", "one"] as const).find((each) => name.includes(each)) ?? "record";
  const given = (): Loaders =>
    mode === undefined ? structure(kind) : new CombinedLoader(structure("record"), mode satisfies CombinedMode);
  if (name.startsWith("validation")) return { train: few, val: given, options: {} };
  if (name === "overfit several")
    return { train: () => structure("record"), val: null, options: { overfitBatches: 1 } };
  if (name.startsWith("overfit"))
    return {
      train: () => loader(0, 9, 2, true),
      val: () => loader(100, 6, 2, true),
      options: { overfitBatches: Number(name.slice("overfit ".length)) },
    };
  const limit = /limit (.*)$/.exec(name)?.[1];
  return { train: given, val: null, options: limit === undefined ? {} : { limitTrainBatches: Number(limit) } };
}

for (const { name, ...expected } of reference.batches)
  test(`batches of several loaders are Lightning's: ${name}`, async () => {
    const { train, val, options } = caseOf(name);
    const actual = await seen(train, val, options);
    assert.deepEqual([actual.train, actual.val], [expected.train, expected.val]);
    assert.equal(Math.fround(actual.after), Math.fround(expected.after));
  });

test("overfitBatches says that shuffling is off, once for training and once for validation", async () => {
  const { train, val, options } = caseOf("overfit 2");
  const warnings = await warningsOf(() => seen(train, val, options));
  assert.deepEqual(
    warnings.filter(({ code }) => code === "WARN_OVERFIT_SHUFFLE").map(({ message }) => message.split(": ")[2]),
    ["the training loader's shuffling is off.", "the validation loader's shuffling is off."],
  );
});

test("loaders are asked for again every n epochs, as Lightning does", async (t) => {
  const options: Record<string, TrainerOptions> = {
    "every epoch": { reloadDataloadersEveryNEpochs: 1 },
    "every second": { reloadDataloadersEveryNEpochs: 2 },
    "every second, sanity check": { reloadDataloadersEveryNEpochs: 2, numSanityValSteps: 1 },
    "every second, validation in every second, sanity check": {
      reloadDataloadersEveryNEpochs: 2,
      numSanityValSteps: 1,
      checkValEveryNEpoch: 2,
    },
    "every third, validation in every second": { reloadDataloadersEveryNEpochs: 3, checkValEveryNEpoch: 2 },
    never: {},
  };
  for (const { name, loaded, train, after: number } of reference.reloads)
    await t.test(name, async () => {
      const asked: string[] = [];
      class Asked extends Reader {
        override trainDataloader(): unknown {
          asked.push(`train ${this.currentEpoch}`);
          return loader(0, 4, 2, true);
        }
        override valDataloader(): unknown {
          asked.push(`val ${this.currentEpoch}`);
          return loader(100, 2, 1);
        }
      }
      const model = new Asked();
      void manualSeed(7);
      await new Trainer({ ...QUIET, maxEpochs: 5, numSanityValSteps: 0, ...options[name] }).fit(model);
      // The first of each is asked for before training, here; in Lightning when it is needed.
      const later = (all: readonly string[], kind: string): string[] =>
        all.filter((each) => each.startsWith(kind)).slice(1);
      for (const kind of ["train", "val"]) assert.deepEqual(later(asked, kind), later(loaded, kind));
      assert.deepEqual(model.train_, train);
      assert.equal(Math.fround(rand([]).item()), Math.fround(number));
    });
});

/** Several loaders, one with a generator of its own and one that says nothing of where it stands. */
function various(mode: CombinedMode): CombinedLoader {
  const own = new DataLoader<Tensor, Tensor>(new Numbers(0, 7), {
    batchSize: 2,
    shuffle: true,
    generator: new Generator().manualSeed(3),
  });
  const shuffled = loader(100, 3, 1, true);
  const list = Array.from({ length: 5 }, (_, i) => arange(200 + i, 201 + i));
  const stream = {
    *[Symbol.iterator](): Generator_ {
      yield* list;
    },
  };
  return new CombinedLoader({ own, shuffled, stream }, mode);
}
type Generator_ = globalThis.Generator<Tensor>;

/** Saves at a batch, and draws a random number in each. */
class Saves extends Callback {
  constructor(
    readonly at: number,
    readonly path: string,
  ) {
    super();
  }
  override onTrainBatchEnd(trainer: TrainerView, _m: unknown, _o: unknown, _b: unknown, batchIdx: number): void {
    rand([]).dispose();
    if (trainer.currentEpoch * 100 + batchIdx === this.at) trainer.saveCheckpoint(this.path);
  }
}

for (const mode of ["min_size", "max_size", "max_size_cycle", "sequential"] as const)
  test(`a run goes on with the very next batch of each loader: ${mode}`, async () => {
    const run = async (at: number, path: string, from: string | null): Promise<unknown[]> => {
      void manualSeed(11);
      const model = new Reader();
      const trainer = new Trainer({ ...QUIET, maxEpochs: 2, numSanityValSteps: 0, callbacks: [new Saves(at, path)] });
      await trainer.fit(model, { trainDataloaders: various(mode), ckptPath: from });
      return model.train_;
    };
    const whole = await run(-1, "", null);
    const perEpoch = whole.length / 2;
    for (let epoch = 0; epoch < 2; epoch++)
      for (let batch = 0; batch < perEpoch; batch++) {
        const path = join(folder, `${mode}-${epoch}-${batch}.ckpt`);
        assert.deepEqual(await run(epoch * 100 + batch, path, null), whole);
        const rest = await run(-1, "", path);
        assert.deepEqual(rest, whole.slice(epoch * perEpoch + batch + 1), `after batch ${batch} of epoch ${epoch}`);
      }
  });

test("a run goes on with loaders asked for in the same epochs, and with the same batches", async () => {
  class Asking extends Reader {
    override trainDataloader(): unknown {
      return loader(0, 6, 2, true);
    }
    override valDataloader(): unknown {
      return loader(100, 2, 1, true);
    }
  }
  const run = async (at: number, path: string, from: string | null): Promise<unknown[]> => {
    void manualSeed(11);
    const model = new Asking();
    const options = { maxEpochs: 5, numSanityValSteps: 0, reloadDataloadersEveryNEpochs: 2, checkValEveryNEpoch: 2 };
    await new Trainer({ ...QUIET, ...options, callbacks: [new Saves(at, path)] }).fit(model, { ckptPath: from });
    return [...model.train_, rand([]).item()];
  };
  const whole = await run(-1, "", null);
  for (let epoch = 0; epoch < 5; epoch++)
    for (const batch of [0, 2]) {
      const path = join(folder, `reload-${epoch}-${batch}.ckpt`);
      await run(epoch * 100 + batch, path, null);
      assert.deepEqual(await run(-1, "", path), whole.slice(epoch * 3 + batch + 1), `epoch ${epoch}, batch ${batch}`);
    }
});

test("a checkpoint of other loaders is refused", async () => {
  const path = join(folder, "other.ckpt");
  const fit = (train: Loaders, from: string | null, at = -1): Promise<void> =>
    new Trainer({ ...QUIET, maxEpochs: 1, numSanityValSteps: 0, callbacks: [new Saves(at, path)] }).fit(new Reader(), {
      trainDataloaders: train,
      ckptPath: from,
    });
  await fit(structure("record"), null, 1);
  await assert.rejects(fit(structure("nested"), path), {
    code: "ERR_RESUME_LOADER",
    message: /expected the 3 loaders that the checkpoint was made with\. Received: a checkpoint of 2 loaders/,
  });
  await fit(loader(0, 7, 2), null, 1);
  await assert.rejects(fit(structure("record"), path), { code: "ERR_RESUME_LOADER" });
});

test("the Trainer shows the loaders in the structure in which they were given", async () => {
  const train = structure("nested");
  const val = [loader(0, 2, 1), loader(2, 2, 1)];
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1, numSanityValSteps: 0 });
  assert.deepEqual([trainer.trainDataloader, trainer.valDataloaders], [null, null]);
  await trainer.fit(new Reader(), { trainDataloaders: train, valDataloaders: val });
  assert.deepEqual(trainer.trainDataloader, train);
  assert.deepEqual(trainer.valDataloaders, val);
  assert.deepEqual(trainer.numValBatches, [2, 2]);
  assert.equal(trainer.numTrainingBatches, 4);
});

test("lists of batches stay one loader; in an object they are one each", async () => {
  const batch = (i: number): Tensor => arange(i, i + 1);
  const fit = async (train: unknown): Promise<unknown[]> => {
    const model = new Reader();
    await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(model, { trainDataloaders: train as Loaders });
    return model.train_;
  };
  assert.deepEqual(await fit([batch(1), batch(2)]), [[1], [2]]);
  assert.deepEqual(await fit([[batch(1), batch(2)]]), [[[1], [2]]]);
  assert.deepEqual(await fit([{ x: batch(1) }, { x: batch(2) }]), [{ x: [1] }, { x: [2] }]);
  assert.deepEqual(await fit({ a: [batch(1), batch(2)], b: [batch(3)] }), [
    { a: [1], b: [3] },
    { a: [2], b: [3] },
  ]);
});

test("what is no loader, or no number of batches, is an error before anything has run", async () => {
  const fit = (train: unknown, options: TrainerOptions = {}): Promise<void> =>
    new Trainer({ ...QUIET, maxEpochs: 1, ...options }).fit(new Reader(), { trainDataloaders: train as Loaders });
  await assert.rejects(fit({ a: 3 }), { code: "ERR_LOADERS" });
  await assert.rejects(fit({}), { code: "ERR_LOADERS" });
  await assert.rejects(fit(various("min_size"), { limitTrainBatches: 0.5 }), { code: "ERR_LIMIT" });
  assert.throws(() => new Trainer({ ...QUIET, overfitBatches: -1 }), /expected overfitBatches to be a whole number/);
  assert.throws(() => new Trainer({ ...QUIET, reloadDataloadersEveryNEpochs: 0.5 }), /reloadDataloadersEveryNEpochs/);
  class Own extends DataLoader<Tensor, Tensor> {}
  await assert.rejects(fit(new Own(new Numbers(0, 4), { shuffle: true }), { overfitBatches: 1 }), {
    code: "ERR_OVERFIT_BATCHES",
  });
  await assert.rejects(
    new Trainer(QUIET).predict(new Reader(), { dataloaders: new CombinedLoader(structure("record"), "min_size") }),
    { code: "ERR_LOADERS", message: /a CombinedLoader of mode "sequential"/ },
  );
});

test("a data set of pairs is read by several loaders too", async () => {
  const pairs = (): DataLoader<[Tensor], [Tensor]> => new DataLoader(new TensorDataset(arange(4)), { batchSize: 2 });
  const model = new Reader();
  await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(model, { trainDataloaders: [pairs(), pairs()] });
  assert.deepEqual(model.train_[0], [[[0, 1]], [[0, 1]]]);
});
