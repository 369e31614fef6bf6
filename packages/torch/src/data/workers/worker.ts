/** A thread that loads batches: it makes its dataset, and then does what it is told, one batch after the other. */
import { workerData } from "node:worker_threads";
import { addToMessage, ArgumentError, verbatim } from "../../errors.js";
import { defaultGenerator, manualSeed } from "../../random.js";
import { drawAlone, takeOver } from "../../tensor/hand-over.js";
import { scope, tensor } from "../../tensor/index.js";
import { ReentrantScope } from "../../tensor/scope.js";
import { isIterableDataset, type Source } from "../dataset.js";
import { Fetch, isPromise, type Where } from "../fetch.js";
import { isStream } from "../loader-options.js";
import { lengthOf } from "../batch-sampler.js";
import { END, StreamReader } from "../stream-reader.js";
import { failureOf } from "./failure.js";
import type { Located } from "./locate.js";
import { packBatch, unpack, type Packed } from "./pack.js";
import { SIGNALS, type Answer, type Order, type Recipe, type Start } from "./protocol.js";
import { workerSeed } from "../../worker-seeds.js";
import { setLoaderThread, setWorkerInfo } from "./worker-info.js";

interface Given {
  readonly recipe: Recipe | null;
  readonly dataset: Source<unknown> | null;
  readonly collateFn: ((elements: readonly unknown[]) => unknown) | null;
  readonly workerInitFn: ((id: number) => unknown) | null;
}

/** The export of a module: the one of that name and text, else any of that text. */
async function loaded({ module, export: name, text }: Located): Promise<unknown> {
  const all = (await import(module)) as Readonly<Record<string, unknown>>;
  const fits = (v: unknown): boolean => typeof v === "function" && (text === null || String(v) === text);
  const found = text === null || fits(all[name]) ? all[name] : Object.values(all).find(fits);
  if (fits(found)) return found;
  throw new ArgumentError(
    "DataLoader",
    `${name} to be exported by its module, from which threads load it`,
    verbatim(`a module without such an export: ${module}`),
    `Write \`export\` before it; if the module is the program itself, move it to one of its own.`,
  );
}

async function made({ module, export: name, args }: Recipe): Promise<Source<unknown>> {
  const type = (await loaded({ module, export: name, text: null })) as (...a: readonly unknown[]) => unknown;
  const isClass = /^class\b/.test(Function.prototype.toString.call(type));
  const dataset = isClass ? (Reflect.construct(type, args) as unknown) : await type(...args);
  isStream(dataset); // or an error
  return dataset as Source<unknown>;
}

function randomState(): Uint8Array {
  return scope(() => new Uint8Array(defaultGenerator.getState().toBytes()));
}

/** Private methods do not come with copied fields, and V8 says so in its own words. */
function explained(error: unknown): unknown {
  if (error instanceof TypeError && /Receiver must be an instance of class|private (member|field)/.test(error.message))
    addToMessage(
      error,
      "Workers have copies of the dataset's fields, without what is #private: declare it `private`, or let each worker make its own, by { module, export, args }.",
    );
  return error;
}

class Loading {
  readonly #fetch: Fetch<unknown, unknown>;
  readonly #signals: Int32Array;
  #reader: StreamReader<unknown, unknown> | null = null;
  #pass = -1;
  #failed: { readonly error: unknown } | null = null;

  constructor(
    readonly start: Start,
    readonly dataset: Source<unknown>,
    collateFn: Given["collateFn"],
  ) {
    this.#fetch = new Fetch({ dataset, collateFn });
    this.#signals = new Int32Array(start.signals);
  }

  async begin({ pass, skip, random }: Extract<Order, { kind: "pass" }>): Promise<void> {
    this.#pass = pass;
    this.#failed = null;
    try {
      await this.#reader?.return();
      this.#reader = this.#stream(skip);
    } catch (error) {
      this.#failed = { error };
    }
    if (random !== null) scope(() => void defaultGenerator.setState(tensor(random)));
  }
  #stream(skip: number): StreamReader<unknown, unknown> | null {
    if (!isIterableDataset(this.dataset)) return null;
    const elements = this.dataset[Symbol.asyncIterator]?.() ?? this.dataset[Symbol.iterator]?.();
    return elements === undefined ? null : new StreamReader(elements, this.start, this.#fetch, skip);
  }

  /** The answer; null where nobody wants it any more. */
  async load({ pass, index, where }: Extract<Order, { kind: "load" }>): Promise<Answer | null> {
    const worker = this.start.id;
    if (pass !== this.#pass || pass !== Atomics.load(this.#signals, SIGNALS.pass)) return null;
    try {
      if (this.#failed !== null) throw this.#failed.error;
      const batch = await (where === null ? this.#next() : this.#at(where));
      if (batch === END) return { kind: "dry", worker, pass, index };
      return { kind: "batch", worker, pass, index, batch, random: randomState() };
    } catch (error) {
      return { kind: "failed", worker, pass, index, failure: failureOf(explained(error)) };
    }
  }

  async #next(): Promise<Packed | typeof END> {
    const batch = await this.#reader?.next();
    return batch === END ? END : packBatch(batch, this.start.group);
  }
  /** What is made on the way to a batch goes with it, where nothing has to be waited for. */
  #at(where: Where): Packed | Promise<Packed> {
    const made = new ReentrantScope();
    const { group } = this.start;
    try {
      const batch = made.run(() => this.#fetch.at(where));
      if (!isPromise(batch)) return made.run(() => packBatch(batch, group));
      made.abandon();
      return batch.then((late) => packBatch(late, group));
    } finally {
      made.close();
    }
  }
}

async function run(start: Start): Promise<void> {
  const signals = new Int32Array(start.signals);
  const { port, id: worker } = start;
  const post = (answer: Answer): void => {
    port.postMessage(answer);
    Atomics.add(signals, SIGNALS.posted, 1);
    Atomics.notify(signals, SIGNALS.posted);
  };
  process.once("exit", (code) => {
    post({
      kind: "failed",
      worker,
      pass: -1,
      index: null,
      failure: failureOf(new Error(`worker ${worker} ended with code ${code}`)),
    });
  });
  const orders: Order[] = [];
  let wake = (): void => undefined;
  port.on("message", (order: Order) => {
    orders.push(order);
    wake();
  });
  let loading: Loading | null = null;
  try {
    loading = await begin(start);
    post({ kind: "ready", worker, facts: { stream: isStream(loading.dataset), length: lengthOf(loading.dataset) } });
  } catch (error) {
    post({ kind: "failed", worker, pass: -1, index: null, failure: failureOf(error) });
  }
  for (;;) {
    const order = orders.shift();
    if (order === undefined) await new Promise<void>((resolve) => (wake = resolve));
    else if (order.kind === "end") break;
    else if (order.kind === "pass") await loading?.begin(order);
    else {
      const answer = (await loading?.load(order)) ?? null;
      if (answer !== null) post(answer);
    }
  }
  process.removeAllListeners("exit");
  process.exit(0);
}

async function begin(start: Start): Promise<Loading> {
  drawAlone();
  const seed = workerSeed(start.seed, start.id, start.rank);
  manualSeed(seed);
  setLoaderThread();
  const functions: unknown[] = [];
  for (const each of start.packed.functions) functions.push(await loaded(each));
  const given = unpack(start.packed, functions, (k) => takeOver(start.tensors[k] as number)) as Given;
  const dataset = given.dataset ?? (await made(given.recipe as Recipe));
  setWorkerInfo({ id: start.id, numWorkers: start.numWorkers, seed, dataset });
  await given.workerInitFn?.(start.id);
  return new Loading(start, dataset, given.collateFn);
}

await run(workerData as Start);
