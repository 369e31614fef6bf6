/** Datasets that only the threads of a loader have: here, what is known of them. */
import { ArgumentError } from "../../errors.js";
import { performance } from "node:perf_hooks";
import { isPlain } from "../../kinds.js";
import { atMost } from "../../options.js";
import { Dataset, IterableDataset } from "../dataset.js";
import { errorFrom } from "./failure.js";
import { Pool } from "./pool.js";
import type { Facts, Recipe } from "./protocol.js";

/** How the threads of a `DataLoader` make their dataset: each its own. */
export interface WorkerDataset {
  /** URL of the module: `import.meta.url`, or `new URL("./photos.js", import.meta.url).href`. */
  readonly module: string;
  /** Name of an export: a class, which is constructed, or a function, which is called and may return a promise. */
  readonly export: string;
  /** What it is given: values that can go between threads, tensors among them. Default: nothing. */
  readonly args?: readonly unknown[];
}

/** @internal */
export function isWorkerDataset(value: unknown): value is WorkerDataset {
  return (
    isPlain(value) && typeof value["module"] === "string" && typeof value["export"] === "string" && !("get" in value)
  );
}

class RemoteDataset extends Dataset<unknown> {
  constructor(
    readonly recipe: Recipe,
    readonly length: number,
  ) {
    super();
  }
  get(index: number): never {
    atMost("get", arguments, 1);
    throw new ArgumentError("DataLoader", "elements to be read by workers, which alone have the dataset", index);
  }
}
class RemoteStream extends IterableDataset<unknown> {
  constructor(readonly recipe: Recipe) {
    super();
  }
  override [Symbol.iterator](): never {
    throw new ArgumentError("DataLoader", "a stream to be read by workers, which alone have it", this.recipe.export);
  }
}

/** @internal How a loader's threads make its dataset; null where they get the loader's own. */
export function recipeOf(dataset: unknown): Recipe | null {
  return dataset instanceof RemoteDataset || dataset instanceof RemoteStream ? dataset.recipe : null;
}

/**
 * @internal What stands for the dataset in this thread. Whether it is a stream, and its length, is what a thread says
 * that has made it: this one waits for that.
 * @throws What making it throws there.
 */
export function remote(given: WorkerDataset): Dataset<unknown> | IterableDataset<unknown> {
  const recipe: Recipe = { module: moduleUrl(given.module), export: given.export, args: given.args ?? [] };
  const { stream, length } = factsOf(recipe);
  if (!stream) return new RemoteDataset(recipe, length ?? 0);
  const made = new RemoteStream(recipe);
  if (length !== null) Object.defineProperty(made, "length", { value: length, enumerable: true });
  return made;
}

function moduleUrl(module: string): string {
  if (!URL.canParse(module))
    throw new ArgumentError(
      "DataLoader",
      "module to be the URL of a module",
      module,
      'Write import.meta.url, or new URL("./photos.js", import.meta.url).href.',
    );
  return module;
}

function factsOf(recipe: Recipe): Facts {
  const pool = new Pool({
    dataset: null,
    recipe,
    collateFn: null,
    workerInitFn: null,
    numWorkers: 1,
    seed: 0n,
    batched: false,
    batchSize: null,
    dropLast: false,
  });
  try {
    for (;;) {
      const answer = pool.take();
      if (answer === null) pool.waitNow(performance.now() + 1000);
      else if (answer.kind === "ready") return answer.facts;
      else if (answer.kind === "failed") throw errorFrom(answer.failure, answer.worker);
    }
  } finally {
    void pool.end();
  }
}
