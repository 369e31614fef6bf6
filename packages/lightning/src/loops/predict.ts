import { keep } from "@nbit/torch";
import { eachTensor, mapTensors } from "../collections.js";
import { BatchRunner } from "./batch-runner.js";
import type { LoopContext } from "./context.js";
import type { BatchSource } from "./batch-source.js";
import { loadersOf, sourceOf } from "./combined-fetcher.js";
import type { BatchLimit } from "./fetch.js";
import type { LoaderGroup } from "./loader-group.js";
import { inEvaluation } from "./module-modes.js";

const MODES = { begin: "onPredictModelEval", end: null } as const;

/** Runs `predictStep` over every batch of every loader and gathers what it returned, on the CPU. */
export class PredictLoop {
  readonly #context: LoopContext;
  readonly #fetchers: readonly BatchSource[];
  readonly #runner: BatchRunner;
  readonly #predictions: unknown[][];

  constructor(context: LoopContext, groups: readonly LoaderGroup[], limit: BatchLimit, returnPredictions: boolean) {
    this.#context = context;
    this.#fetchers = groups.map((group) => sourceOf(group, limit, "limitPredictBatches"));
    this.#predictions = groups.map(() => []);
    this.#runner = new BatchRunner(context, {
      step: "predictStep",
      batchStart: context.hooks.get("onPredictBatchStart"),
      batchEnd: context.hooks.get("onPredictBatchEnd"),
      inference: true,
      onBatch: () => undefined,
      onOutput: (output, index) => {
        if (!returnPredictions) return;
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
    return this.#predictions;
  }
}
