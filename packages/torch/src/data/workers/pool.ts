/** The threads of a loader: begun, told, heard, and ended. */
import { MessageChannel, receiveMessageOnPort, threadId, Worker, type MessagePort } from "node:worker_threads";
import { dropHandedOver, handOver } from "../../tensor/hand-over.js";
import type { Tensor } from "../../tensor/index.js";
import { DataWorkerError, failureOf } from "./failure.js";
import { pack, unpackBatch } from "./pack.js";
import { SIGNALS, type Answer, type Order, type Recipe, type Start } from "./protocol.js";
import { scope } from "../../tensor/scope.js";
import { globalRank } from "../../distributed/global-rank.js";
import { workerSeedsAreMixed } from "../../worker-seeds.js";

export interface PoolPlan {
  readonly dataset: unknown;
  readonly recipe: Recipe | null;
  readonly collateFn: unknown;
  readonly workerInitFn: unknown;
  readonly numWorkers: number;
  readonly seed: bigint;
  readonly batched: boolean;
  readonly batchSize: number | null;
  readonly dropLast: boolean;
}

interface Thread {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly group: number;
  readonly gone: Promise<void>;
}

/** How long a thread that is told to end may go on with what it is doing. */
const GRACE_MS = 5000;
let groups = 0;

/**
 * Threads load by a program's own rules, so they get its flags; but one that runs a text (`node -e`, or from standard
 * input) says so by flags that a file cannot be begun with, and a preload that was added since it began (the command
 * `nbit` reads TypeScript by one) is none of its flags for Node.
 */
function flags(): { readonly execArgv?: string[] } {
  const all = process.execArgv;
  if (!all.some((flag) => flag.startsWith("--input-type") || flag.endsWith("/typescript-preload.js"))) return {};
  const loads = /^(--import|--require|-r|--loader|--experimental-loader|--conditions|-C)(=|$)/;
  return {
    execArgv: all.flatMap((flag, i) =>
      !loads.test(flag) ? [] : flag.includes("=") ? [flag] : [flag, all[i + 1] ?? ""],
    ),
  };
}

export class Pool {
  readonly numWorkers: number;
  readonly seed: bigint;
  readonly #signals = new SharedArrayBuffer(4 * SIGNALS.length);
  readonly #numbers = new Int32Array(this.#signals);
  readonly #threads: readonly Thread[];
  readonly #inbox: Answer[] = [];
  #heard: (() => void) | null = null;
  #ending: Promise<void> | null = null;
  #pass = 0;

  /** @throws {ArgumentError} for a dataset or function that no other thread can have. */
  constructor(plan: PoolPlan) {
    this.numWorkers = plan.numWorkers;
    this.seed = plan.seed;
    const tensors: Tensor[] = [];
    const { dataset, collateFn, workerInitFn, recipe } = plan;
    const packed = pack(
      { dataset: recipe === null ? dataset : null, collateFn, workerInitFn, recipe },
      { what: "the loader's ", functions: true, tensor: (t) => tensors.push(t) - 1 },
    );
    this.#threads = Array.from({ length: plan.numWorkers }, (_, id) => this.#thread(plan, id, packed, tensors));
  }

  #thread(plan: PoolPlan, id: number, packed: Start["packed"], tensors: readonly Tensor[]): Thread {
    const { port1, port2 } = new MessageChannel();
    const group = threadId * 2 ** 24 + ++groups;
    const { numWorkers, seed, batched, batchSize, dropLast } = plan;
    const start: Start = {
      id,
      numWorkers,
      seed,
      rank: workerSeedsAreMixed() ? globalRank() : null,
      packed,
      tensors: tensors.map((t) => handOver(t, group)),
      batched,
      batchSize,
      dropLast,
      group,
      port: port2,
      signals: this.#signals,
    };
    const worker = new Worker(new URL("./thread.js", import.meta.url), {
      workerData: start,
      transferList: [port2],
      ...flags(),
    });
    worker.unref();
    const failed = (error: unknown): void => {
      if (this.#ending === null)
        this.#hear({ kind: "failed", worker: id, pass: -1, index: null, failure: failureOf(error) });
    };
    worker.on("error", failed);
    const gone = new Promise<void>((resolve) => {
      worker.once("exit", (code) => {
        failed(new DataWorkerError(`DataLoader: worker ${id} ended with code ${code}`, "ERR_DATA_WORKER"));
        port1.close();
        if (this.#ending !== null) dropHandedOver(group);
        resolve();
      });
    });
    port1.on("message", (answer: Answer) => {
      this.#hear(answer);
    });
    port1.unref();
    return { worker, port: port1, group, gone };
  }

  #hear(answer: Answer): void {
    this.#inbox.push(answer);
    this.#heard?.();
  }

  /** Begin a pass: what was asked for before is wanted no more. @returns Its number. */
  begin(skip: readonly number[], random: readonly (Uint8Array | null)[]): number {
    const pass = ++this.#pass;
    Atomics.store(this.#numbers, SIGNALS.pass, pass);
    for (let i = 0; i < this.numWorkers; i++)
      this.tell(i, { kind: "pass", pass, skip: skip[i] ?? 0, random: random[i] ?? null });
    return pass;
  }
  tell(worker: number, order: Order): void {
    this.#threads[worker]?.port.postMessage(order);
  }

  /** The next answer that is there. */
  take(): Answer | null {
    for (const { port } of this.#threads) {
      for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
        this.#inbox.push((next as { readonly message: Answer }).message);
    }
    return this.#inbox.shift() ?? null;
  }

  /** Wait on the spot until there may be an answer. @returns Whether that was before `deadline`, on performance's clock. */
  waitNow(deadline: number): boolean {
    const seen = Atomics.load(this.#numbers, SIGNALS.posted);
    const next = this.take();
    if (next !== null) {
      this.#inbox.unshift(next);
      return true;
    }
    const left = deadline - performance.now();
    if (left <= 0) return false;
    Atomics.wait(this.#numbers, SIGNALS.posted, seen, Math.min(left, 1000));
    return true;
  }

  /** The same, in a promise, which keeps the process running. */
  async wait(deadline: number): Promise<boolean> {
    if (this.#inbox.length > 0) return true;
    const left = deadline - performance.now();
    if (left <= 0) return false;
    for (const { port } of this.#threads) port.ref();
    let timer: NodeJS.Timeout | null = null;
    try {
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
        if (left !== Infinity) timer = setTimeout(resolve, Math.min(left, 2 ** 31 - 1));
      });
    } finally {
      if (timer !== null) clearTimeout(timer);
      this.#heard = null;
      for (const { port } of this.#threads) port.unref();
    }
    return true;
  }

  /** Nobody wants the batch of an answer. */
  discard(answer: Answer): void {
    if (answer.kind === "batch")
      scope(() => {
        unpackBatch(answer.batch);
      });
  }

  get ended(): boolean {
    return this.#ending !== null;
  }

  /** End the threads, after what they are doing. The promise, which need not be waited for: they have gone. */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }
  async #end(): Promise<void> {
    Atomics.add(this.#numbers, SIGNALS.pass, 1);
    for (const { port } of this.#threads) port.postMessage({ kind: "end" } satisfies Order);
    const late = setTimeout(() => {
      for (const { worker } of this.#threads) void worker.terminate();
    }, GRACE_MS);
    late.unref();
    await Promise.all(this.#threads.map((t) => t.gone));
    clearTimeout(late);
    for (const { group } of this.#threads) dropHandedOver(group);
  }
  /** The same, where somebody waits for it: the process goes on until then. */
  async endAndWait(): Promise<void> {
    for (const { worker } of this.#threads) worker.ref();
    await this.end();
  }
}

/** Ends the threads of whoever is collected without having ended them. */
const forgotten = new FinalizationRegistry<Pool>((pool) => void pool.end());
export function endWith(owner: object, pool: Pool): void {
  forgotten.register(owner, pool, pool);
}
export function endedBefore(pool: Pool): void {
  forgotten.unregister(pool);
}
