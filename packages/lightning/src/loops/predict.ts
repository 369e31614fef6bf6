import { keep } from "@nbit/torch";
import { eachTensor, mapTensors } from "../collections.js";
import { BatchRunner } from "./batch-runner.js";
import type { LoopContext } from "./context.js";
import { Fetcher } from "./fetch.js";
import type { BatchLimit, Loader } from "./fetch.js";
import { captureModes } from "./module-modes.js";

/** Runs `predictStep` over every batch of every loader and gathers what it returned, on the CPU. */
export class PredictLoop {
  readonly #context: LoopContext;
  readonly #fetchers: readonly Fetcher[];
  readonly #runner: BatchRunner;
  readonly #predictions: unknown[][];

  constructor(context: LoopContext, loaders: readonly Loader[], limit: BatchLimit, returnPredictions: boolean) {
    this.#context = context;
    this.#fetchers = loaders.map((loader) => new Fetcher(loader, limit, "limitPredictBatches"));
    this.#predictions = loaders.map(() => []);
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

  get numBatches(): number[] {
    return this.#fetchers.map((fetcher) => fetcher.length);
  }

  /** @returns per loader, what `predictStep` returned for each batch. Dispose of the tensors when done with them. */
  async run(): Promise<unknown[][]> {
    const { hooks, module } = this.#context;
    this.#context.stage = "predict";
    this.#context.metricStore.activate(null);
    const restoreModes = captureModes(module);
    try {
      module.eval();
      await this.#context.withoutGradients(async () => {
        await hooks.get("onPredictStart").run();
        await hooks.get("onPredictEpochStart").run();
        for (const [index, fetcher] of this.#fetchers.entries())
          await this.#runner.run(fetcher, index, this.numBatches[index] ?? 0, 0);
        await hooks.get("onPredictEpochEnd").run();
        await hooks.get("onPredictEnd").run();
      });
    } finally {
      restoreModes();
    }
    return this.#predictions;
  }
}
