/** Datasets, and functions of loaders, that threads load from this file. */
import { rand, randn } from "../ops/index.js";
import { Dataset, getWorkerInfo, IterableDataset } from "../data/index.js";
import { getNumThreads } from "../backend.js";
import { tensor, type Tensor } from "../tensor/index.js";

/** Element i with transforms by operators: [x · 2 + i, i]. */
export class Transformed extends Dataset<readonly [Tensor, number]> {
  readonly length: number;
  constructor(readonly base: Tensor) {
    super();
    this.length = base.size(0);
  }
  get(i: number): readonly [Tensor, number] {
    return [this.base.at(i).mul(2).add(i), i];
  }
}
/** Random elements: [draw, worker]. */
export class Noise extends Dataset<{ readonly draw: Tensor; readonly worker: number }> {
  constructor(readonly length: number) {
    super();
  }
  get(i: number): { readonly draw: Tensor; readonly worker: number } {
    return {
      draw: randn([3])
        .add(rand([1]))
        .mul(i === -1 ? 0 : 1),
      worker: getWorkerInfo()?.id ?? -1,
    };
  }
}
export class Shards extends IterableDataset<number> {
  constructor(readonly count: number) {
    super();
  }
  override *[Symbol.iterator](): IterableIterator<number> {
    const { id, numWorkers } = getWorkerInfo() ?? { id: 0, numWorkers: 1 };
    for (let i = id; i < this.count; i += numWorkers) yield i;
  }
}
/** Every worker gives all of it, and the second only half. */
export class Unequal extends IterableDataset<string> {
  override *[Symbol.iterator](): IterableIterator<string> {
    const { id } = getWorkerInfo() ?? { id: 0 };
    for (let i = 0; i < (id === 1 ? 2 : 5); i++) yield `${id}:${i}`;
  }
}
export class Fails extends Dataset<number> {
  constructor(
    readonly length: number,
    readonly at: number,
    readonly how: "throws" | "exits" | "hangs" | "rejects",
  ) {
    super();
  }
  get(i: number): number | Promise<number> {
    if (i !== this.at) return i;
    if (this.how === "exits") process.exit(3);
    if (this.how === "hangs") return new Promise(() => undefined);
    if (this.how === "rejects") return Promise.reject(new RangeError("no such element"));
    throw new TypeError(`element ${i} is broken`);
  }
}
export class Late extends Dataset<number> {
  constructor(readonly length: number) {
    super();
  }
  async get(i: number): Promise<number> {
    await new Promise((done) => setTimeout(done, (i * 7) % 5));
    return i * i;
  }
}
/** The later a position, the sooner it is there. */
export class Reversed extends Late {
  override async get(i: number): Promise<number> {
    await new Promise((done) => setTimeout(done, i === 0 ? 300 : 0));
    return i;
  }
}
export class Hidden extends Dataset<number> {
  readonly #count = 4;
  get length(): number {
    return this.#count;
  }
  get(i: number): number {
    return i + this.#count;
  }
}
export class Secretive extends Dataset<number> {
  readonly length = 1;
  get(i: number): number {
    return this.#twice(i);
  }
  #twice(i: number): number {
    return i + this.length;
  }
}
export class Facts extends Dataset<Record<string, unknown>> {
  readonly length = 4;
  initialised = -1;
  get(i: number): Record<string, unknown> {
    const { id, numWorkers, seed } = getWorkerInfo() ?? { id: -1, numWorkers: 0, seed: 0n };
    return { i, id, numWorkers, seed: String(seed), initialised: this.initialised, threads: getNumThreads() };
  }
}
export function initialise(id: number): void {
  (getWorkerInfo()?.dataset as Facts).initialised = id + 10;
}
export function joined(elements: readonly unknown[]): string {
  return elements.map(String).join("+");
}
export function closes(): unknown {
  return { a: () => 1 };
}
export async function makeSquares(count: number, offset: Tensor): Promise<Dataset<number>> {
  await Promise.resolve();
  const add = offset.item();
  return Object.assign(new Late(count), { get: (i: number) => i * i + Number(add) });
}
export function makeStream(count: number): IterableDataset<number> {
  return new Shards(count);
}
export const offset = (n: number): Tensor => tensor([n]);
class Private extends Dataset<number> {
  readonly length = 1;
  get(): number {
    return 1;
  }
}
export const unexported = (): Dataset<number> => new Private();
