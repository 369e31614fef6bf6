/** Parameters of one unit and dtype in one flat buffer, of which each rank has a chunk. */
import { noGrad } from "../../autograd/modes.js";
import { Parameter } from "../../nn/parameter.js";
import type { WeightCodes } from "../../nn/weight-codes.js";
import { setShard } from "../../optim/master-weights.js";
import { empty, zeros } from "../../ops/index.js";
import { isFloatingPoint, type DType } from "../../tensor/dtype.js";
import { TensorList } from "../../tensor/list.js";
import { outsideScopes, scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { noteOtherMemory } from "../../weights-epoch.js";
import { allGatherIntoTensor, type Work } from "../collectives.js";
import { distOperator } from "../native-calls.js";
import { FlatCodes } from "./flat-codes.js";
import { planLayout, rangeOf, type Layout, type Range } from "./layout.js";
import type { Settings } from "./options.js";

/** One parameter, and this rank's part of it. */
export interface Member extends Range {
  readonly name: string;
  readonly parameter: Tensor;
  /** Of the whole parameter. */
  readonly shape: readonly number[];
  readonly numel: number;
  /** Where it begins in the flat buffer, and where this rank's part begins in its chunk. */
  readonly offset: number;
  readonly inChunk: number;
  /** What an optimizer steps; null: nothing of it is on this rank, or it is no parameter. */
  readonly shard: Parameter | null;
}

type State = "sharded" | "gathering" | "whole";
/** All elements in one piece of memory, and the parameters in it. */
interface Whole {
  readonly all: Tensor;
  readonly views: readonly Tensor[];
  readonly dtype: DType;
}

/**
 * Stage 3: parameters show this rank's part of them, in one dimension, and between `gather` and `reshard` themselves.
 * Other stages: always themselves; shards are views of them unless they are gathered in another dtype.
 *
 * The whole buffer is one storage for good, whose memory comes and goes: views that autograd saved in forward find it
 * again in backward.
 */
export class FlatParameters {
  readonly members: readonly Member[];
  readonly layout: Layout;
  readonly dtype: DType;
  readonly trained: boolean;
  /** Packed, in the order of members. */
  readonly packed: TensorList;
  /** This rank's elements. */
  readonly chunk: Tensor;
  readonly #ownChunk: boolean;
  readonly #own: Whole;
  /** What parameters are gathered in for a while. */
  #cast: Whole | null = null;
  readonly #parts: readonly Tensor[];
  readonly #settings: Settings;
  readonly #what: string;
  #state: State;
  #work: Work | null = null;
  #source: Tensor | null = null;

  readonly #codes: FlatCodes | null;
  /** Gathered as they are for now, so that they can be read. */
  #readable = false;

  constructor(
    unit: string,
    named: readonly (readonly [string, Tensor])[],
    settings: Settings,
    codes: ReadonlyMap<Tensor, WeightCodes> = new Map(),
  ) {
    const { group, stage, offload, device, policy, blockSize } = settings;
    const [, first] = named[0] as readonly [string, Tensor];
    this.#settings = settings;
    this.#what = unit === "" ? "the model itself" : `unit "${unit}"`;
    this.dtype = first.dtype;
    this.trained = first.requiresGrad;
    const cast = isFloatingPoint(this.dtype) && !settings.excepted.has(first);
    const gatherDtype = cast ? (policy.paramDtype ?? this.dtype) : this.dtype;
    const numels = named.map(([, p]) => p.numel());
    const layout = planLayout(numels, group.size, { blockSize, itemsize: codes.has(first) ? 1 : first.itemsize });
    this.layout = layout;
    this.#ownChunk = stage === 3 || gatherDtype !== this.dtype;
    const shapes = named.map(([, p]) => p.shape);
    const made = noGrad(() =>
      outsideScopes(() =>
        scope(() => {
          const flat = zeros([layout.total], { dtype: this.dtype, device });
          named.forEach(([, p], i) =>
            flat.narrow(0, layout.offsets[i] ?? 0, numels[i] ?? 0).copy_(p.detach().reshape([-1])),
          );
          const mine = flat.narrow(0, group.rank * layout.chunk, layout.chunk);
          const chunk = this.#ownChunk ? mine.to({ device: offload ? "cpu" : device, copy: true }) : mine;
          return { chunk, all: gatherDtype === this.dtype ? flat : flat.to(gatherDtype) };
        }),
      ),
    );
    this.chunk = made.chunk;
    const ranges = numels.map((n, i) => rangeOf(layout, layout.offsets[i] ?? 0, n, group.rank));
    const starts = ranges.map(({ start }, i) => (layout.offsets[i] ?? 0) + start - group.rank * layout.chunk);
    this.#parts = noGrad(() =>
      outsideScopes(() =>
        ranges.map(({ start, end }, i) => this.chunk.narrow(0, start === end ? 0 : (starts[i] ?? 0), end - start)),
      ),
    );
    this.members = named.map(([name, parameter], i) => {
      const range = ranges[i] as Range;
      const shard =
        range.start === range.end || !(parameter instanceof Parameter)
          ? null
          : new Parameter(this.#parts[i] as Tensor, { requiresGrad: parameter.requiresGrad });
      setShard(parameter, { ...range, shard, numel: numels[i] ?? 0, shape: shapes[i] ?? [] });
      return {
        ...range,
        name,
        parameter,
        shape: shapes[i] ?? [],
        numel: numels[i] ?? 0,
        offset: layout.offsets[i] ?? 0,
        inChunk: range.start === range.end ? 0 : (starts[i] ?? 0),
        shard,
      };
    });
    this.#own = this.#wholeOf(made.all);
    const coded = named.flatMap(([, p]) => codes.get(p) ?? []);
    this.#codes =
      coded.length === named.length ? new FlatCodes(coded, this.members, layout, settings, this.#what) : null;
    this.packed = TensorList.of(named.map(([, p]) => p));
    this.#state = "whole";
    this.#show(this.#own.views);
    if (stage === 3) {
      this.#show(this.#parts);
      distOperator("free_storage_")(this.#own.all, this.#what);
      this.#state = "sharded";
    }
  }

  #wholeOf(all: Tensor): Whole {
    const views = noGrad(() =>
      outsideScopes(() =>
        this.members.map(({ offset, numel, shape }) => scope(() => all.narrow(0, offset, numel).view([...shape]))),
      ),
    );
    return { all, views, dtype: all.dtype };
  }
  get #now(): Whole {
    return this.#cast ?? this.#own;
  }
  /** In codes, unless they are to be read or are wanted in another dtype. */
  get #coded(): FlatCodes | null {
    return this.#readable || this.#cast !== null ? null : this.#codes;
  }
  /** In which parameters are gathered. */
  get gatherDtype(): DType {
    return this.#now.dtype;
  }

  #show(sources: readonly Tensor[]): void {
    noGrad(() => distOperator("show_")(this.packed, TensorList.of(sources)));
    noteOtherMemory();
  }

  get state(): State {
    return this.#state;
  }
  /** Elements of the whole buffer that are this rank's. */
  #mine({ all }: Whole): Tensor {
    const { chunk } = this.layout;
    return all.narrow(0, this.#settings.group.rank * chunk, chunk);
  }

  /** Begin to gather what is not there; {@link gather} ends it. */
  beginGather(): void {
    if (this.#state !== "sharded") return;
    const coded = this.#coded;
    if (coded === null) {
      distOperator("allocate_storage_")(this.#now.all);
      this.#begin(this.#now);
    } else {
      coded.allocate();
      this.#beginCodes(coded);
    }
    this.#state = "gathering";
  }
  #begin({ all, dtype }: Whole): void {
    const { group, device } = this.#settings;
    noGrad(() => {
      const source = outsideScopes(() => this.chunk.to({ device, dtype, nonBlocking: true }));
      this.#source = source === this.chunk ? null : source;
      this.#work = allGatherIntoTensor(all, source, { group, asyncOp: true });
    });
  }
  #beginCodes(coded: FlatCodes): void {
    const { group, device } = this.#settings;
    noGrad(() => {
      const bytes = coded.encode(this.chunk);
      this.#source = outsideScopes(() => bytes.to({ device, nonBlocking: true }));
      if (this.#source !== bytes) bytes.dispose();
      this.#work = allGatherIntoTensor(coded.all, this.#source, { group, asyncOp: true });
    });
  }
  #end(): void {
    this.#work?.wait();
    this.#work = null;
    this.#source?.dispose();
    this.#source = null;
  }

  /** Parameters are themselves. Blocks until they are; on CUDA the current stream waits. */
  gather(): void {
    this.beginGather();
    if (this.#state !== "gathering") return;
    this.#end();
    this.#show(this.#now.views);
    this.#coded?.show();
    this.#state = "whole";
  }
  /** Stage 3: free all but this rank's chunk. */
  reshard(): void {
    if (this.#settings.stage < 3 || this.#state === "sharded") return;
    this.#end();
    this.#show(this.#parts);
    if (this.#coded === null) distOperator("free_storage_")(this.#now.all, this.#what);
    else this.#coded.free(this.#what);
    this.#state = "sharded";
  }

  /** Other stages: an optimizer has stepped the chunk; the whole is to follow. */
  beginPublish(): void {
    if (this.#settings.stage === 3) return;
    const { all } = this.#own;
    noGrad(() =>
      scope(() => {
        if (this.#ownChunk) return this.#begin(this.#own);
        this.#work = allGatherIntoTensor(all, this.#mine(this.#own), { group: this.#settings.group, asyncOp: true });
      }),
    );
  }
  endPublish(): void {
    if (this.#settings.stage === 3) return;
    this.#end();
    if (this.#cast !== null) {
      this.#begin(this.#cast);
      this.#end();
    }
    noteOtherMemory();
  }

  /**
   * Gather in another dtype from here on; null: as ever. Other stages than 3 gather at once, a collective, and hold both
   * meanwhile; what is written to gathered parameters of another dtype is not kept.
   */
  gatherIn(dtype: DType | null): void {
    const wanted = dtype === null || !isFloatingPoint(this.dtype) || dtype === this.#own.dtype ? null : dtype;
    if (wanted === (this.#cast?.dtype ?? null)) return;
    const sharded = this.#settings.stage === 3;
    if (sharded) this.reshard();
    const { layout } = this;
    const { device } = this.#settings;
    const earlier = this.#cast;
    this.#cast =
      wanted === null
        ? null
        : this.#wholeOf(noGrad(() => outsideScopes(() => empty([layout.total], { dtype: wanted, device }))));
    if (sharded) {
      if (this.#cast !== null) distOperator("free_storage_")(this.#cast.all, this.#what);
    } else {
      this.endPublish();
      this.#show(this.#now.views);
    }
    for (const t of earlier === null ? [] : [...earlier.views, earlier.all]) t.dispose();
  }

  /** Whether what is gathered can be read from here on, also where codes are what forward needs. */
  setReadable(on: boolean): void {
    if (this.#codes === null || on === this.#readable) return;
    this.reshard();
    this.#readable = on;
  }
  /** Of weights that are gathered in codes: the largest magnitude of this rank's part, and who is told that of all. */
  get measured(): { readonly amaxes: readonly Tensor[]; readonly weights: readonly WeightCodes[] } {
    if (this.#codes === null) return { amaxes: [], weights: [] };
    return { amaxes: this.#codes.amaxes(this.chunk), weights: this.#codes.weights };
  }
  /** Layers are by themselves again. */
  releaseCodes(): void {
    this.#codes?.release();
  }

  /** What was written to whole parameters becomes this rank's chunk: elements in another dtype, where they changed. */
  writeBack(): void {
    if ((!this.#ownChunk && this.#cast === null) || this.#state !== "whole" || this.#coded !== null) return;
    noGrad(() =>
      scope(() => {
        const mine = this.#mine(this.#now).to({ device: this.chunk.device });
        if (mine.dtype === this.dtype) return void this.chunk.copy_(mine);
        const was = this.chunk.to(mine.dtype);
        const untouched = mine.eq(was).logicalOr(mine.isnan().logicalAnd(was.isnan()));
        this.chunk.copy_(this.chunk.where(untouched, mine.to(this.dtype)));
      }),
    );
  }

  /** All elements in the parameters' own dtype, in memory of their own. A collective, but where they are there. */
  wholeCopy(): Tensor {
    const { group, device } = this.#settings;
    return noGrad(() => {
      if (!this.#ownChunk) return this.#own.all.clone();
      const all = empty([this.layout.total], { dtype: this.dtype, device });
      scope(() => {
        allGatherIntoTensor(all, this.chunk.to({ device }), { group });
      });
      return all;
    });
  }
}
