import { inferenceMode, scope, words } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { isPromise } from "../hooks.js";
import type { HookArgs, HookList } from "../hooks.js";
import type { Precision } from "../precision/precision.js";
import type { Batch } from "../types.js";
import { Breather, makeTransfer } from "./context.js";
import type { LoopContext } from "./context.js";
import type { Fetcher } from "./fetch.js";
import type { Fetched } from "./fetch.js";
import { settle, waitFor } from "./pending.js";
import type { Pending } from "./pending.js";

type StepName = "validationStep" | "testStep" | "predictStep";

export interface BatchRunnerParts {
  readonly step: StepName;
  /** Default: the run's. */
  readonly precision?: Precision;
  readonly batchStart: HookList<HookArgs<"onValidationBatchStart">>;
  readonly batchEnd: HookList<HookArgs<"onValidationBatchEnd">>;
  /** No graph can come of it: run in inference mode. */
  readonly inference: boolean;
  /** Told of each batch before its hooks. */
  readonly onBatch: (batch: Batch, dataloaderIdx: number) => void;
  /** Told of what each step returned, after its hooks. */
  readonly onOutput: (output: unknown, dataloaderIdx: number) => void;
}

/** Runs one of the steps that do not train over the batches of a loader. Gradients are off already. */
export class BatchRunner {
  readonly #context: LoopContext;
  readonly #parts: BatchRunnerParts;
  readonly #transfer: (batch: Batch, dataloaderIdx: number) => Batch;
  readonly #breather = new Breather();
  #batchIdx = 0;
  #loaderIdx = 0;
  #exhausted = false;

  constructor(context: LoopContext, parts: BatchRunnerParts) {
    this.#context = context;
    this.#parts = parts;
    this.#transfer = makeTransfer(context, parts.precision);
  }

  /** All batches of `fetcher`, at most `limit`. */
  async run(fetcher: Fetcher, loaderIdx: number, limit: number, epoch: number): Promise<void> {
    fetcher.start(epoch);
    this.#loaderIdx = loaderIdx;
    this.#exhausted = false;
    for (this.#batchIdx = 0; this.#batchIdx < limit && !this.#exhausted; this.#batchIdx++) {
      const pending = this.#scoped(() => this.#fetch(fetcher));
      if (pending !== null) await settle(pending);
      this.#context.checkInterrupt();
      const breath = this.#breather.due();
      if (breath !== null) await breath;
    }
    await fetcher.close();
  }

  #scoped(fn: () => Pending | null): Pending | null {
    return scope(() => (this.#parts.inference ? inferenceMode(fn) : fn()));
  }

  #fetch(fetcher: Fetcher): Pending | null {
    const fetched = fetcher.next();
    return fetched instanceof Promise ? waitFor(fetched, (value) => this.#start(value)) : this.#start(fetched);
  }

  #start(fetched: Fetched | null): Pending | null {
    if (fetched === null) {
      this.#exhausted = true;
      return null;
    }
    const { batchStart, onBatch } = this.#parts;
    const batch = this.#transfer(fetched.batch, this.#loaderIdx);
    onBatch(batch, this.#loaderIdx);
    if (batchStart.length === 0) return this.#step(batch);
    const started = batchStart.run(batch, this.#batchIdx, this.#loaderIdx);
    return isPromise(started) ? waitFor(started, () => this.#step(batch), batch) : this.#step(batch);
  }

  #step(batch: Batch): Pending | null {
    const { step, batchEnd } = this.#parts;
    const { host, module } = this.#context;
    const precision = this.#parts.precision ?? this.#context.precision;
    const before = host.currentHook;
    host.currentHook = step;
    let output: unknown;
    try {
      output = precision.forward(() => {
        const made: unknown = module[step](batch, this.#batchIdx, this.#loaderIdx);
        if (!isPromise(made)) return made;
        made.catch(() => undefined);
        throw new MisconfigurationError(step, "a step that ends when it returns", words("a promise"), "Autocast and tensor scopes end when it returns.", "ERR_ASYNC_STEP");
      });
    } finally {
      host.currentHook = before;
    }
    if (batchEnd.length === 0) return this.#end(output);
    const ended = batchEnd.run(output, batch, this.#batchIdx, this.#loaderIdx);
    return isPromise(ended) ? waitFor(ended, () => this.#end(output), [output, batch]) : this.#end(output);
  }

  #end(output: unknown): Pending | null {
    this.#parts.onOutput(output, this.#loaderIdx);
    return null;
  }
}
