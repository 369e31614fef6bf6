import { keep } from "@nbit/torch";
import { eachTensor, mapTensors } from "../collections.js";
import { BatchRunner } from "./batch-runner.js";
import type { LoopContext } from "./context.js";
import type { BatchSource } from "./batch-source.js";
import { loadersOf, sourceOf } from "./combined-fetcher.js";
import type { BatchLimit } from "./fetch.js";
import { withIndices, type IndexedLoader } from "./batch-indices.js";
import { withLoaders, type LoaderGroup } from "./loader-group.js";
import { inEvaluation } from "./module-modes.js";

const MODES = { begin: "onPredictModelEval", end: null } as const;

/** What a prediction keeps of each batch. */
export interface PredictKeeps {
  /** What the step returned, to return it. */
  readonly returned: boolean;
  /** The same, for callbacks at the end. */
  readonly written: boolean;
  /** Which positions of the dataset it was of. */
  readonly indices: boolean;
}

/** Runs `predictStep` over every batch of every loader and gathers what it returned, on the CPU. */
export class PredictLoop {
  readonly #context: LoopContext;
  readonly #fetchers: readonly BatchSource[];
  readonly #runner: BatchRunner;
  readonly #predictions: unknown[][];
  /** Per group; none where nobody asks for positions, or where batches are of several loaders. */
  readonly #indexed: readonly (IndexedLoader | null)[];
  readonly #keeps: PredictKeeps;

  constructor(context: LoopContext, groups: readonly LoaderGroup[], limit: BatchLimit, keeps: PredictKeeps) {
    this.#context = context;
    this.#keeps = keeps;
    this.#indexed = groups.map(({ loaders: [loader, second] }) =>
      keeps.indices && loader !== undefined && second === undefined ? withIndices(loader) : null,
    );
    this.#fetchers = groups.map((group, i) => {
      const indexed = this.#indexed[i] ?? null;
      const read = indexed === null ? group : withLoaders(group, [indexed.loader]);
      return sourceOf(read, limit, "limitPredictBatches");
    });
    this.#predictions = groups.map(() => []);
    this.#runner = new BatchRunner(context, {
      step: "predictStep",
      batchStart: context.hooks.get("onPredictBatchStart"),
      batchEnd: context.hooks.get("onPredictBatchEnd"),
      inference: true,
      onBatch: () => undefined,
      onOutput: (output, index) => {
        if (!keeps.returned && !keeps.written) return;
        const kept = mapTensors(output, (tensor) => (tensor.device.type === "cpu" ? tensor : tensor.cpu()));
        eachTensor(kept, keep);
        this.#predictions[index]?.push(kept);
      },
    });
  }

  /** One loader, or a list of them. */
  get dataloaders(): unknown {
    return loadersOf(this.#fetchers);
  }

  get numBatches(): number[] {
    return this.#fetchers.map((fetcher) => fetcher.length);
  }

  /** Positions in the dataset of what a batch holds; null: the loader has none, or nobody asked for them. */
  batchIndices(dataloaderIdx: number, batchIdx: number): readonly number[] | null {
    return this.#indexed[dataloaderIdx]?.indices(batchIdx) ?? null;
  }
  /** The same of all batches, per loader. */
  get epochBatchIndices(): (readonly number[] | null)[][] {
    return this.#predictions.map((of, i) => of.map((_, batchIdx) => this.batchIndices(i, batchIdx)));
  }
  /** What was kept so far, per batch; per loader and batch where there are several. */
  get predictions(): readonly unknown[] {
    return this.#predictions.length === 1 ? (this.#predictions[0] ?? []) : this.#predictions;
  }

  /** @returns per loader, what `predictStep` returned for each batch. Dispose of the tensors when done with them. */
  async run(): Promise<unknown[][]> {
    const { hooks } = this.#context;
    this.#context.stage = "predict";
    this.#context.metricStore.activate(null);
    const predict = async (): Promise<void> => {
      await hooks.get("onPredictStart").run();
      await hooks.get("onPredictEpochStart").run();
      for (const [index, fetcher] of this.#fetchers.entries())
        await this.#runner.run(fetcher, index, this.numBatches[index] ?? 0, 0);
      await hooks.get("onPredictEpochEnd").run();
      await hooks.get("onPredictEnd").run();
    };
    await this.#context.withoutGradients(() => inEvaluation(this.#context, MODES, predict));
    if (this.#keeps.returned) return this.#predictions;
    for (const of of this.#predictions) for (const one of of.splice(0)) eachTensor(one, (tensor) => tensor.dispose());
    return this.#predictions;
  }
}
