/** Weights of a flat buffer as they are gathered in codes of one byte. */
import { noGrad } from "../../autograd/modes.js";
import type { Module } from "../../nn/module.js";
import type { WeightCodes } from "../../nn/weight-codes.js";
import { empty, zeros } from "../../ops/index.js";
import { outsideScopes, scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { distOperator } from "../native-calls.js";
import type { Layout, Range } from "./layout.js";
import type { Settings } from "./options.js";

/** By weight, those layers' that make codes of theirs. One that several modules have travels as it is. */
export function codesOfWeights(root: Module): ReadonlyMap<Tensor, WeightCodes> {
  const holders = new Map<Tensor, number>();
  const found = new Map<Tensor, WeightCodes>();
  for (const m of root.modules()) {
    for (const [, p] of m.namedParameters({ recurse: false })) holders.set(p, (holders.get(p) ?? 0) + 1);
    const { weightCodes } = m;
    if (weightCodes !== null) found.set(weightCodes.weight, weightCodes);
  }
  return new Map([...found].filter(([p]) => holders.get(p) === 1));
}

/** Where one weight lies. */
interface Place extends Range {
  readonly offset: number;
  readonly inChunk: number;
  readonly numel: number;
  readonly shape: readonly number[];
}

export class FlatCodes {
  /** Bytes, whose memory is there while they are gathered. */
  readonly all: Tensor;
  readonly #views: readonly Tensor[];

  constructor(
    readonly weights: readonly WeightCodes[],
    readonly places: readonly Place[],
    readonly layout: Layout,
    { device }: Settings,
    what: string,
  ) {
    this.all = outsideScopes(() => empty([layout.total], { dtype: "uint8", device }));
    this.#views = noGrad(() =>
      outsideScopes(() =>
        places.map(({ offset, numel, shape }, i) =>
          scope(() =>
            this.all
              .narrow(0, offset, numel)
              .view([...shape])
              .view(weights[i]?.dtype ?? "uint8"),
          ),
        ),
      ),
    );
    this.free(what);
  }

  /** What this rank sends. */
  encode(chunk: Tensor): Tensor {
    return noGrad(() => {
      const bytes = outsideScopes(() => zeros([this.layout.chunk], { dtype: "uint8", device: chunk.device }));
      scope(() =>
        this.places.forEach(({ inChunk, start, end }, i) => {
          const codes = this.weights[i]?.encode(chunk.narrow(0, inChunk, end - start));
          if (codes !== undefined && end > start) bytes.narrow(0, inChunk, end - start).copy_(codes.view("uint8"));
        }),
      );
      return bytes;
    });
  }
  /** Of this rank's part of each. */
  amaxes(chunk: Tensor): Tensor[] {
    return this.places.map(({ inChunk, start, end }, i) =>
      start === end
        ? zeros([], { device: chunk.device })
        : (this.weights[i] as WeightCodes).amaxOf(chunk.narrow(0, inChunk, end - start)),
    );
  }

  allocate(): void {
    distOperator("allocate_storage_")(this.all);
  }
  show(): void {
    this.weights.forEach((codes, i) => codes.setCodes(this.#views[i] ?? null));
  }
  free(what: string): void {
    for (const codes of this.weights) codes.setCodes(null);
    distOperator("free_storage_")(this.all, what);
  }
  /** The layers make codes by themselves again. */
  release(): void {
    for (const codes of this.weights) {
      codes.setCodes(null);
      codes.setAmax(null);
    }
  }
}
