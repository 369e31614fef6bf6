import { inferenceMode, noGrad } from "@nbit/torch";
import { isPromise, mustEnd, STEPS_END } from "../promises.js";
import type { HookArgs, HookList } from "../hooks.js";
import type { Precision } from "../precision/precision.js";
import type { Batch } from "../types.js";
import { yieldToEventLoop } from "./yield-to-event-loop.js";
import { makeTransfer } from "./context.js";
import type { LoopContext } from "./context.js";
import type { BatchSource } from "./batch-source.js";
import type { Fetched } from "./fetch.js";
import { checkSameOrder } from "../ranks/same-data.js";
import { explainGradients } from "../diagnostics/loss-errors.js";
import type { CompiledForwards } from "./compiled-forwards.js";
import { andThen, BatchScope, waitFor } from "./pending.js";
import type { MaybePending } from "./pending.js";

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

/** Runs one of the steps that do not train over the batches of a loader, without gradients. */
export class BatchRunner {
  readonly #context: LoopContext;
  readonly #parts: BatchRunnerParts;
  readonly #transfer: (batch: Batch, dataloaderIdx: number) => Batch | Promise<Batch>;
  readonly #scope: BatchScope;
  readonly #yieldIfDue = yieldToEventLoop();
  /** Where steps are programs of another device; null: they run where the tensors are. */
  readonly #forwards: CompiledForwards | null;
  #batchIdx = 0;
  #loaderIdx = 0;

  constructor(context: LoopContext, parts: BatchRunnerParts) {
    this.#context = context;
    this.#parts = parts;
    this.#transfer = makeTransfer(context, parts.precision);
    // Weights in a precision of its own are other tensors in each validation.
    this.#forwards = parts.precision === undefined ? context.forwards : null;
    const inference = parts.inference && context.options.inferenceMode && this.#forwards === null;
    this.#scope = new BatchScope((work) => {
      try {
        return inference ? inferenceMode(work) : noGrad(work);
      } catch (error) {
        throw explainGradients(error, parts.step, inference);
      }
    });
  }

  /** All batches of `fetcher`, at most `limit`. */
  async run(fetcher: BatchSource, loaderIdx: number, limit: number, epoch: number): Promise<void> {
    const { step } = this.#parts;
    fetcher.start(epoch);
    this.#loaderIdx = loaderIdx;
    for (this.#batchIdx = 0; this.#batchIdx < limit; this.#batchIdx++) {
      const found = this.#scope.run(() => this.#fetch(fetcher));
      if (!(isPromise(found) ? await found : found)) break;
      this.#context.events?.batchEnd(this.#context.stage, this.#batchIdx, loaderIdx);
      if (this.#context.leavesBatches()) break;
      const turn = this.#yieldIfDue();
      if (turn !== null) await turn;
    }
    this.#forwards?.settle();
    await fetcher.close();
    this.#context.vote();
    this.#context.checkInterrupt();
    for (const loader of fetcher.loaders) checkSameOrder(step, this.#context.collectives, loader);
  }

  /** The next batch, if there is one. */
  #fetch(fetcher: BatchSource): MaybePending<boolean> {
    const profiling = this.#context.profiling ?? null;
    const fetched = profiling === null ? fetcher.next() : profiling.next(...this.#loop(), () => fetcher.next());
    return isPromise(fetched) ? waitFor(fetched, (value) => this.#start(value)) : this.#start(fetched);
  }

  /** What Lightning calls the loop, and the batches of it. */
  #loop(): readonly [loop: string, stage: string] {
    if (this.#parts.step === "predictStep") return ["_PredictionLoop", "predict"];
    return ["_EvaluationLoop", this.#parts.step === "testStep" ? "test" : "val"];
  }

  #start(fetched: Fetched | null): MaybePending<boolean> {
    if (fetched === null) return false;
    const batch = this.#transfer(fetched.batch, this.#loaderIdx);
    return isPromise(batch) ? waitFor(batch, (moved) => this.#moved(moved)) : this.#moved(batch);
  }

  #moved(batch: Batch): MaybePending<boolean> {
    const { batchStart, onBatch } = this.#parts;
    onBatch(batch, this.#loaderIdx);
    return batchStart.length === 0
      ? this.#step(batch)
      : batchStart.chain(() => this.#step(batch), batch, this.#batchIdx, this.#loaderIdx);
  }

  #step(batch: Batch): MaybePending<boolean> {
    const { step } = this.#parts;
    const { host, module } = this.#context;
    const precision = this.#parts.precision ?? this.#context.precision;
    const call = (): unknown =>
      mustEnd(step, module[step](batch, this.#batchIdx, this.#loaderIdx), STEPS_END, "ERR_ASYNC_STEP");
    const run = (): unknown => precision.forward(() => host.within(step, call));
    const output = this.#forwards === null ? run() : this.#forwards.run(step, batch, this.#loaderIdx, run);
    return andThen(output, (made) => this.#stepped(made, batch));
  }

  #stepped(output: unknown, batch: Batch): MaybePending<boolean> {
    const { batchEnd } = this.#parts;
    if (batchEnd.length === 0) return this.#end(output);
    return batchEnd.chain(() => this.#end(output), output, batch, this.#batchIdx, this.#loaderIdx);
  }

  #end(output: unknown): true {
    this.#parts.onOutput(output, this.#loaderIdx);
    return true;
  }
}
