import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { LightningModule, ModelCheckpoint, Trainer } from "@nbit/lightning";
import type { Loaders, TrainerOptions } from "@nbit/lightning";
import {
  BatchSampler,
  ChainDataset,
  ConcatDataset,
  DataLoader,
  Dataset,
  defaultCollate,
  Generator,
  IterableDataset,
  memory,
  mseLoss,
  nn,
  optim,
  rand,
  RandomSampler,
  randn,
  seedEverything,
  Subset,
  tensor,
  WeightedRandomSampler,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET, SILENT } from "../helpers/training.js";

const folder = temporaryFolder("async-data");

type Pair = [Tensor, Tensor];
class Line extends LightningModule {
  layer = new nn.Linear(3, 1);
  readonly seen: number[] = [];
  override forward([x]: Pair): Tensor {
    return this.layer.forward(x);
  }
  override trainingStep(batch: Pair): Tensor {
    const loss = mseLoss(this.forward(batch), batch[1]);
    this.seen.push(loss.item());
    return loss;
  }
  override validationStep(batch: Pair): void {
    this.seen.push(-mseLoss(this.forward(batch), batch[1]).item());
  }
  override testStep(batch: Pair): void {
    this.validationStep(batch);
  }
  override predictStep(batch: Pair): Tensor {
    return this.forward(batch);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1, momentum: 0.9 });
  }
}

/** Makes an element when it is asked for it: at once, in a promise that is ready, or after a turn of the event loop. */
type Give = (make: () => Pair) => Pair | Promise<Pair>;
const GIVES: Readonly<Record<string, Give>> = {
  "at once": (make) => make(),
  "in a ready promise": (make) => Promise.resolve(make()),
  "after waiting": async (make) => {
    await turn();
    return make();
  },
  "after waiting, made before": async (make) => {
    const made = make();
    await turn();
    return made;
  },
};

seedEverything(3);
const VALUES = randn(24, 3).tolist() as number[][];
class Rows extends Dataset<Pair> {
  readonly length = VALUES.length;
  constructor(readonly give: Give) {
    super();
  }
  get(i: number): Pair | Promise<Pair> {
    return this.give(() => {
      const x = VALUES[i] ?? [];
      return [tensor(x), tensor([x.reduce((a, b) => a + b, 0)])];
    });
  }
}
/** Batches that the dataset gathers itself. */
class Gathered extends Rows {
  override getBatch(indices: readonly number[]): Pair | Promise<Pair> {
    return this.give(
      () =>
        defaultCollate(
          indices.map((i): Pair => [tensor(VALUES[i] ?? []), tensor([(VALUES[i] ?? []).reduce((a, b) => a + b, 0)])]),
        ) as Pair,
    );
  }
}
class Stream extends IterableDataset<Pair> {
  constructor(
    readonly give: Give,
    readonly kind: "sync" | "async",
  ) {
    super();
    if (kind === "sync") this[Symbol.iterator] = () => this.#each() as Iterator<Pair>;
    else this[Symbol.asyncIterator] = () => this.#eachLate();
  }
  *#each(): Generator_<Pair | Promise<Pair>> {
    const rows = new Rows(this.give);
    for (let i = 0; i < rows.length; i++) yield rows.get(i);
  }
  async *#eachLate(): AsyncGenerator<Pair> {
    const rows = new Rows(this.give);
    for (let i = 0; i < rows.length; i++) yield await rows.get(i);
  }
}
type Generator_<T> = globalThis.Generator<T, void>;

const LOADERS: Readonly<
  Record<string, (give: Give, concurrency: number) => Iterable<unknown> | AsyncIterable<unknown>>
> = {
  batches: (give, concurrency) => new DataLoader(new Rows(give), { batchSize: 5, concurrency }),
  shuffled: (give, concurrency) =>
    new DataLoader(new Rows(give), { batchSize: 4, shuffle: true, dropLast: true, concurrency }),
  "with a generator of its own": (give, concurrency) =>
    new DataLoader(new Rows(give), {
      batchSize: 4,
      shuffle: true,
      generator: new Generator("cpu").manualSeed(9),
      concurrency,
    }),
  gathered: (give, concurrency) => new DataLoader(new Gathered(give), { batchSize: 4, concurrency }),
  "single elements": (give, concurrency) => new DataLoader(new Rows(give), { batchSize: null, concurrency }),
  "subset of a concatenation": (give, concurrency) =>
    new DataLoader(new Subset(new ConcatDataset([new Rows(give), new Rows(give)]), [0, 30, 4, 47, 9, 11]), {
      batchSize: 2,
      concurrency,
    }),
  "sampler in a batch sampler": (give, concurrency) =>
    new DataLoader(new Rows(give), {
      batchSampler: new BatchSampler(
        new RandomSampler({ length: 24 }, { replacement: true, numSamples: 12 }),
        3,
        false,
      ),
      concurrency,
    }),
  "weighted sampler": (give, concurrency) =>
    new DataLoader(new Rows(give), {
      batchSize: 3,
      sampler: new WeightedRandomSampler(
        VALUES.map((_, i) => i + 1),
        10,
      ),
      concurrency,
    }),
  "collateFn that waits": (give, concurrency) =>
    new DataLoader(new Rows(give), {
      batchSize: 4,
      collateFn: (elements) => give(() => defaultCollate(elements) as Pair),
      concurrency,
    }),
  stream: (give, concurrency) =>
    new DataLoader(new Stream(give, "sync") as IterableDataset<Pair>, { batchSize: 5, concurrency }),
  "stream that waits": (give, concurrency) =>
    new DataLoader(new Stream(give, "async") as IterableDataset<Pair>, { batchSize: 5, dropLast: true, concurrency }),
  "streams in a chain": (give, concurrency) =>
    new DataLoader(new ChainDataset([new Stream(give, "async"), new Stream(give, "async")]) as IterableDataset<Pair>, {
      batchSize: 7,
      concurrency,
    }),
  "list of batches": (give) =>
    Array.from({ length: 4 }, (_, i) => give(() => [tensor([VALUES[i] ?? []]), tensor([[i]])])),
};

async function trained(make: () => Iterable<unknown> | AsyncIterable<unknown>): Promise<unknown> {
  seedEverything(3);
  const model = new Line();
  const loader = make as () => Loaders;
  const trainer = new Trainer({ ...QUIET, maxEpochs: 2 });
  await trainer.fit(model, { trainDataloaders: loader(), valDataloaders: loader() });
  const dataloaders = loader();
  await trainer.validate(model, { dataloaders });
  await trainer.test(model, { dataloaders });
  const predictions = (await trainer.predict(model, { dataloaders })) as Tensor[];
  return {
    seen: model.seen,
    weights: model.layer.weight.tolist(),
    predictions: predictions.map((p) => p.tolist()),
    random: rand([1]).item(),
  };
}

for (const [name, make] of Object.entries(LOADERS)) {
  test(`datasets whose elements are promises train, validate, test and predict like those that give them at once: ${name}`, async () => {
    const expected = await trained(() =>
      make(
        name === "stream that waits" || name === "streams in a chain"
          ? (m) => Promise.resolve(m())
          : (GIVES["at once"] as Give),
        0,
      ),
    );
    for (const [how, give] of Object.entries(GIVES))
      for (const concurrency of name === "list of batches" ? [0] : [0, 1, 3])
        assert.deepEqual(await trained(() => make(give, concurrency)), expected, `${how}, concurrency ${concurrency}`);
  });
}

for (const [name, make] of Object.entries(LOADERS)) {
  test(`a run over promises resumes exactly: ${name}`, async () => {
    for (const concurrency of name === "list of batches" ? [0] : [0, 2]) {
      const loader = (): Loaders => make(GIVES["after waiting"] as Give, concurrency) as Loaders;
      const directory = join(folder, `${name}-${concurrency}`);
      const start = (options: TrainerOptions): { model: Line; fit: (ckptPath: string | null) => Promise<void> } => {
        seedEverything(4);
        const model = new Line();
        const trainer = new Trainer({ accelerator: "cpu", ...SILENT, maxEpochs: 2, numSanityValSteps: 0, ...options });
        const valDataloaders = (LOADERS["batches"] as (give: Give, concurrency: number) => Loaders)(
          GIVES["after waiting"] as Give,
          concurrency,
        );
        return {
          model,
          fit: (ckptPath) => trainer.fit(model, { trainDataloaders: loader(), valDataloaders, ckptPath }),
        };
      };
      const whole = start({
        enableCheckpointing: true,
        callbacks: [new ModelCheckpoint({ dirpath: directory, everyNTrainSteps: 3, saveTopK: -1 })],
      });
      await whole.fit(null);
      for (const file of readdirSync(directory)) {
        const rest = start({});
        await rest.fit(join(directory, file));
        assert.deepEqual(
          rest.model.seen,
          whole.model.seen.slice(whole.model.seen.length - rest.model.seen.length),
          file,
        );
        assert.deepEqual(rest.model.layer.weight.tolist(), whole.model.layer.weight.tolist(), file);
      }
    }
  });
}

test("each loop rejects with the error of a dataset's promise, and wraps what is not an Error", async () => {
  const boom = new Error("no such file");
  const failing = (reason: unknown, at: number): Give => {
    let n = 0;
    return async (make) => {
      await turn();
      if (n++ >= at) throw reason;
      return make();
    };
  };
  for (const name of [
    "batches",
    "gathered",
    "single elements",
    "collateFn that waits",
    "stream",
    "stream that waits",
  ]) {
    const make = LOADERS[name] as (give: Give, concurrency: number) => Loaders;
    for (const concurrency of [0, 2]) {
      for (const kind of ["fit", "validate", "test", "predict"] as const) {
        const run = (reason: unknown): Promise<unknown> => {
          const trainer = new Trainer({ ...QUIET, maxEpochs: 2 });
          const loader = make(failing(reason, name === "gathered" ? 2 : 9), concurrency);
          return kind === "fit"
            ? trainer.fit(new Line(), { trainDataloaders: loader })
            : trainer[kind](new Line(), { dataloaders: loader });
        };
        await assert.rejects(run(boom), (error) => error === boom, `${name} ${concurrency} ${kind}`);
        await assert.rejects(
          run(undefined),
          {
            code: "ERR_HOOK_REJECTED",
            message: "the loader: expected to fail, if at all, with an Error. Received: undefined.",
          },
          `${name} ${concurrency} ${kind}`,
        );
      }
    }
  }
});

test("an element that fails while others are still loading fails its batch only", async () => {
  class Mixed extends Dataset<Pair> {
    readonly length = 4;
    get(i: number): Promise<Pair> {
      if (i === 2) throw new Error("at once");
      return turn().then(() => Promise.reject(new Error(`late ${i}`)));
    }
  }
  for (const concurrency of [0, 2]) {
    const loader = new DataLoader(new Mixed(), { batchSize: 4, concurrency });
    await assert.rejects(
      new Trainer({ ...QUIET, maxEpochs: 1 }).fit(new Line(), { trainDataloaders: loader }),
      /^Error: at once$/,
    );
    for (const pass of [loader[Symbol.asyncIterator]()]) await assert.rejects(pass.next(), /^Error: at once$/);
    assert.throws(() => [...loader], /^Error: at once$/);
  }
  await turn();
  await turn();
});

test("for…of over promises is refused, and their rejections are ignored", async () => {
  const rejecting: Give = async () => {
    await turn();
    throw new Error("nobody hears of this");
  };
  for (const name of ["batches", "gathered", "single elements", "stream", "stream that waits"]) {
    const loader = (LOADERS[name] as (give: Give, concurrency: number) => Iterable<unknown>)(rejecting, 0);
    assert.throws(
      () => [...loader],
      { code: "ERR_ARGUMENT", message: /It returns promises: iterate with `for await`, as the Trainer does\.$/ },
      name,
    );
  }
  await turn();
  await turn();
});

test("batches of promises are freed after use", async () => {
  const live: number[] = [];
  class Counting extends Line {
    override async onTrainEpochEnd(): Promise<void> {
      await collectGarbage();
      live.push(memory().tensors);
    }
  }
  const loader = new DataLoader(new Rows(GIVES["after waiting, made before"] as Give), { batchSize: 4 });
  await new Trainer({ ...QUIET, maxEpochs: 4 }).fit(new Counting(), { trainDataloaders: loader });
  assert.equal(new Set(live.slice(1)).size, 1, live.join(", "));
});
