/** Pieces of tensors from all ranks: a list of what each has, and its bytes. */
import { noGrad } from "../../autograd/modes.js";
import { cat, empty, zeros } from "../../ops/index.js";
import type { StateValue } from "../../optim/state.js";
import type { DType } from "../../tensor/dtype.js";
import { isTensor } from "../../tensor/handle.js";
import { outsideScopes, scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { allGather, gather } from "../collectives.js";
import type { ProcessGroup } from "../group.js";
import { allGatherObject } from "../objects.js";

export interface Piece {
  /** Of its parameter over all groups. */
  readonly position: number;
  readonly name: string;
  readonly per: number | null;
  readonly start: number;
  readonly value: StateValue;
}
export interface PieceMeta extends Omit<Piece, "value"> {
  /** Where the value is no tensor. */
  readonly plain: StateValue;
  readonly dtype: DType | null;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Every rank's pieces with their bytes, in the order of ranks; on all ranks, or on the first of the group. */
export function* collectBytes(
  pieces: readonly Piece[],
  group: ProcessGroup,
  onFirst: boolean,
): Iterable<{ readonly meta: PieceMeta; readonly bytes: Tensor | null }> {
  const mine = pieces.map(({ value, ...rest }): PieceMeta => {
    if (!isTensor(value)) return { ...rest, plain: value, dtype: null, shape: [], bytes: 0 };
    return { ...rest, plain: null, dtype: value.dtype, shape: value.shape, bytes: value.nbytes };
  });
  const metas = allGatherObject(mine, { group });
  const lengths = metas.map((list) => list.reduce((sum, { bytes }) => sum + bytes, 0));
  const longest = Math.max(1, ...lengths);
  const all = noGrad(() =>
    outsideScopes(() =>
      scope(() => {
        const own = pieces.flatMap(({ value }) => (isTensor(value) && value.nbytes > 0 ? [bytesOf(value)] : []));
        const padding = zeros([longest - (lengths[group.rank] ?? 0)], { dtype: "uint8" });
        const whole = cat([...own, padding]);
        return onFirst ? gather(whole, { group, dst: group.ranks[0] ?? 0 }) : allGather(whole, { group });
      }),
    ),
  );
  for (let rank = 0; rank < metas.length; rank++) {
    let at = 0;
    for (const meta of metas[rank] ?? []) {
      const from = at;
      at += meta.bytes;
      const bytes = meta.dtype === null || all === null ? null : (all[rank]?.narrow(0, from, meta.bytes) ?? null);
      yield { meta, bytes };
    }
  }
}

const bytesOf = (t: Tensor): Tensor => t.detach().to({ device: "cpu" }).contiguous().view([-1]).view("uint8");

/** The tensor of a piece, in memory of its own. */
export function tensorOfBytes({ dtype, shape }: PieceMeta, bytes: Tensor): Tensor {
  return outsideScopes(() => {
    const t = empty([...shape], { dtype: dtype ?? "uint8" });
    if (t.numel() > 0) scope(() => void t.view([-1]).view("uint8").copy_(bytes));
    return t;
  });
}
