/** Gradients of a flat buffer of parameters: they add up whole, and become this rank's shards. */
import { noGrad } from "../../autograd/modes.js";
import { NbitError } from "../../errors.js";
import { operator } from "../../optim/operators.js";
import { cat, empty, promoteTypes, zeros } from "../../ops/index.js";

import type { DType } from "../../tensor/dtype.js";
import { TensorList } from "../../tensor/list.js";
import { outsideScopes, scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { tensor } from "../../tensor/values.js";
import { allGatherIntoTensor, allReduce, reduceScatterTensor, type Work } from "../collectives.js";
import type { FlatParameters, Member } from "./flat-parameters.js";
import type { Settings } from "./options.js";

const foreachCopy_ = operator("_foreach_copy_");
const foreachAdd_ = operator("_foreach_add_");

export class FlatGradients {
  readonly flat: FlatParameters;
  readonly #settings: Settings;
  /** Sums of a window are at least float32. */
  readonly #wide: DType;
  readonly #reduceDtype: DType;
  /** Of float16: divided by it before and after, so that neither sums overflow nor small ones vanish. */
  readonly #root: number | null;
  #whole: Tensor | null = null;
  #work: Work | null = null;
  #part: Tensor | null = null;
  /** Members that had a gradient since shards were given theirs. */
  readonly used: boolean[];

  constructor(flat: FlatParameters, settings: Settings) {
    this.flat = flat;
    this.#settings = settings;
    this.#wide = promoteTypes(flat.dtype, "float32");
    this.#reduceDtype = settings.policy.reduceDtype ?? this.#wide;
    this.#root = this.#reduceDtype === "float16" ? Math.sqrt(settings.group.size) : null;
    this.used = flat.members.map(() => false);
  }

  /** Whether parameters have gradients that were not taken. */
  get waiting(): boolean {
    const grads = TensorList.gradsOf(this.flat.packed);
    try {
      return grads.missing.length < grads.length;
    } finally {
      grads.dispose();
    }
  }

  /** Show the parameters' gradients, by name, and forget them. */
  show(look: (name: string, gradient: Tensor) => void): void {
    for (const { name, parameter } of this.flat.members) if (parameter.grad !== null) look(name, parameter.grad);
    this.flat.packed.clearGrads();
  }

  /** Take the parameters' gradients. `last`: they are averaged next, and nothing is added to them before. */
  take(last: boolean): void {
    const grads = TensorList.gradsOf(this.flat.packed);
    try {
      if (grads.missing.length === grads.length) return;
      this.wait(); // a module that is used twice: what is on its way is not added to
      noGrad(() => scope(() => this.#add(grads, last)));
      this.flat.packed.clearGrads();
    } finally {
      grads.dispose();
    }
  }
  #add(grads: TensorList, last: boolean): void {
    const { members } = this.flat;
    const absent = new Set(grads.missing);
    const present = members.map((_, i) => i).filter((i) => !absent.has(i));
    const values = grads
      .select(present)
      .toArray()
      .map((g, k) => dense(g, members[present[k] as number] as Member));
    const fresh = this.#whole === null;
    const whole = this.#whole ?? this.#newBuffer(last ? this.#reduceDtype : this.#wide);
    this.#whole = whole;
    const view = (i: number): Tensor => {
      const { offset, numel } = members[i] as Member;
      return whole.narrow(0, offset, numel);
    };
    const views = present.map(view);
    if (fresh) {
      foreachCopy_(views, values);
      for (const i of absent) view(i).zero_();
    } else
      foreachAdd_(
        views,
        values.map((v) => v.to(whole.dtype)),
      );
    for (const i of present) this.used[i] = true;
  }
  #newBuffer(dtype: DType): Tensor {
    return outsideScopes(() => empty([this.flat.layout.total], { dtype, device: this.#settings.device }));
  }

  /** Begin to average over the ranks: each gets its part. */
  begin(): void {
    const { group, device } = this.#settings;
    const { layout } = this.flat;
    this.wait(); // what is on its way is a message of its own
    noGrad(() => {
      const whole = this.#whole ?? outsideScopes(() => zeros([layout.total], { dtype: this.#reduceDtype, device }));
      const source = outsideScopes(() => whole.to(this.#reduceDtype));
      if (source !== whole) whole.dispose();
      this.#whole = source;
      if (this.#root !== null) source.div_(this.#root);
      const part = outsideScopes(() => empty([layout.chunk], { dtype: this.#reduceDtype, device }));
      const op = this.#root === null ? "avg" : "sum";
      const earlier = this.#part;
      this.#work = reduceScatterTensor(part, source, { group, op, asyncOp: true });
      this.#part = part;
      if (earlier !== null) this.#addEarlier(earlier);
    });
  }
  /** A second time within a backward: gradients that came late. */
  #addEarlier(earlier: Tensor): void {
    this.wait();
    this.#part?.add_(earlier);
    earlier.dispose();
  }

  /** Until the average is there; frees what was whole. */
  wait(): void {
    if (this.#work === null) return;
    this.#work.wait();
    this.#work = null;
    this.#whole?.dispose();
    this.#whole = null;
    const root = this.#root;
    if (root !== null) noGrad(() => this.#part?.div_(root));
  }

  /** Give shards their gradients, or add to those that they have. `used`: by member; of others nothing is known. */
  deliver(used: readonly boolean[]): void {
    this.wait();
    const part = this.#part;
    this.#part = null;
    this.used.fill(false);
    if (part === null) return;
    const { dtype, chunk, members } = this.flat;
    noGrad(() => {
      const own = outsideScopes(() => part.to({ dtype, device: chunk.device }));
      if (own !== part) part.dispose();
      scope(() => {
        const sums: Tensor[] = [];
        const added: Tensor[] = [];
        members.forEach(({ shard, inChunk, start, end }, i) => {
          if (shard === null || used[i] !== true) return;
          const mine = own.narrow(0, inChunk, end - start);
          const { grad } = shard;
          if (grad === null) shard.grad = mine;
          else {
            sums.push(grad);
            added.push(mine);
          }
        });
        if (sums.length > 0) foreachAdd_(sums, added);
      });
      own.dispose();
    });
  }

  /** The average over the ranks, whole: of what shards have, and of what is not given to them yet. A collective. */
  wholeCopy(): { readonly whole: Tensor; readonly present: readonly boolean[] } {
    const { group, device } = this.#settings;
    const { layout, members, dtype } = this.flat;
    const mine = zeros([layout.chunk], { dtype, device });
    for (const { shard, inChunk, start, end } of members)
      if (shard?.grad) mine.narrow(0, inChunk, end - start).copy_(shard.grad);
    const whole = empty([layout.total], { dtype, device });
    allGatherIntoTensor(whole, mine, { group });
    const present = tensor(
      members.map(({ shard }, i) => Number(this.used[i] === true || (shard !== null && shard.grad !== null))),
      { dtype: "uint8" },
    );
    const flags = cat([present, tensor([this.#whole === null ? 0 : 1], { dtype: "uint8" })]);
    allReduce(flags, { op: "max", group });
    const values = [...(flags.toTypedArray() as Uint8Array)].map((n) => n !== 0);
    if (values.at(-1) === true) {
      const waiting =
        this.#whole?.to({ dtype: this.#wide, copy: true }) ?? zeros([layout.total], { dtype: this.#wide, device });
      members.forEach(({ offset, numel }, i) => {
        if (this.used[i] !== true) waiting.narrow(0, offset, numel).zero_();
      });
      allReduce(waiting, { op: "avg", group });
      whole.add_(waiting);
    }
    return { whole, present: values.slice(0, -1) };
  }

  /** Forget what was taken and not given. */
  clear(): void {
    this.wait();
    this.flat.packed.clearGrads();
    this.#whole?.dispose();
    this.#part?.dispose();
    this.#whole = this.#part = null;
    this.used.fill(false);
  }
}

function dense(gradient: Tensor, { name }: Member): Tensor {
  if (gradient.layout !== "strided")
    throw new NbitError(
      `fullyShard: expected dense gradients. Received: a sparse one of ${name}. Make its Embedding with sparse: false.`,
      "ERR_DIST_SPARSE_GRADIENT",
    );
  return gradient.detach().reshape([-1]);
}
