/** Collectives of values that are no tensors: whatever structured cloning copies (no functions, no tensors). */
import { deserialize, serialize } from "node:v8";
import { ArgumentError, verbatim } from "../errors.js";
import { noGrad } from "../autograd/index.js";
import { orNull, such, whole } from "../kinds.js";
import { atMost, checkArguments, checkOptions } from "../options.js";
import { zeros } from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { scope } from "../tensor/scope.js";
import { tensor, tensorFromBytes } from "../tensor/values.js";
import { allGather, broadcast } from "./collectives.js";
import { groupOf, type ProcessGroup } from "./group.js";

const list = such<readonly unknown[]>("an array of values", Array.isArray);

interface GroupOption {
  readonly group?: ProcessGroup | null;
}

function encode(fn: string, value: unknown): Uint8Array {
  try {
    return serialize(value);
  } catch {
    throw new ArgumentError(
      fn,
      "a value that structured cloning can copy",
      value,
      "Send tensors with a collective of their own.",
    );
  }
}
/** What a process of the same program sent. A module of WebAssembly, say, can be written, and not read elsewhere. */
function decode(fn: string, bytes: Uint8Array): unknown {
  try {
    return deserialize(bytes);
  } catch {
    throw new ArgumentError(fn, "values that structured cloning can copy to another process", verbatim("another one"));
  }
}
const bytesOf = (t: Tensor): Uint8Array => new Uint8Array(t.toTypedArray().buffer);
const padded = (bytes: Uint8Array, length: number): Tensor => {
  const whole = new Uint8Array(length);
  whole.set(bytes);
  return tensorFromBytes(whole, "uint8", [length]);
};

/**
 * Every rank's `value`, in the order of ranks. Two collectives of small tensors on the CPU; blocks.
 * @example const keys = allGatherObject(Object.keys(metrics)); // string[][]
 */
export function allGatherObject<T>(value: T, options: GroupOption = {}): T[] {
  atMost("allGatherObject", arguments, 2);
  checkOptions("allGatherObject", options, { group: true });
  const group = groupOf("allGatherObject", options.group);
  const bytes = encode("allGatherObject", value);
  return noGrad(() =>
    scope(() => {
      const lengths = allGather(tensor([bytes.length], { dtype: "int64" }), { group }).map((t) => Number(t.item()));
      const longest = Math.max(1, ...lengths);
      return allGather(padded(bytes, longest), { group }).map(
        (t, rank): T => decode("allGatherObject", bytesOf(t).subarray(0, lengths[rank])) as T,
      );
    }),
  );
}

/** Every rank's `value` on rank `dst`, null elsewhere. */
export function gatherObject<T>(value: T, options: GroupOption & { readonly dst?: number } = {}): T[] | null {
  atMost("gatherObject", arguments, 2);
  checkOptions("gatherObject", options, { group: true, dst: whole("[0, ∞)") });
  const group = groupOf("gatherObject", options.group);
  const all = allGatherObject(value, { group });
  return group.ranks[group.rank] === (options.dst ?? group.ranks[0] ?? 0) ? all : null;
}

/** The value of rank `src`, on every rank; what others give is not looked at. */
export function broadcastObject<T>(value: T, options: GroupOption & { readonly src?: number } = {}): T {
  atMost("broadcastObject", arguments, 2);
  checkOptions("broadcastObject", options, { group: true, src: whole("[0, ∞)") });
  const group = groupOf("broadcastObject", options.group);
  const src = options.src ?? group.ranks[0] ?? 0;
  const mine = group.ranks[group.rank] === src;
  const bytes = mine ? encode("broadcastObject", value) : new Uint8Array(0);
  return noGrad(() =>
    scope(() => {
      const length = tensor([bytes.length], { dtype: "int64" });
      broadcast(length, { group, src });
      const n = Number(length.item());
      const data = mine ? padded(bytes, n) : zeros([n], { dtype: "uint8" });
      broadcast(data, { group, src });
      return mine ? value : (decode("broadcastObject", bytesOf(data)) as T);
    }),
  );
}

/** PyTorch's form: `list` is replaced, element by element, by that of rank `src`. */
export function broadcastObjectList(list: unknown[], options: GroupOption & { readonly src?: number } = {}): void {
  atMost("broadcastObjectList", arguments, 2);
  if (!Array.isArray(list)) throw new ArgumentError("broadcastObjectList", "list to be an array", list);
  if (Object.isFrozen(list) && list.length > 0)
    throw new ArgumentError("broadcastObjectList", "a list that can be written to", verbatim("one that is frozen"));
  const values = broadcastObject(list, options);
  for (let i = 0; i < list.length; i++) list[i] = values[i];
}

/** `values[rank]` of rank `src`, which gives one for each rank; others give null. */
export function scatterObject<T>(
  values: readonly T[] | null,
  options: GroupOption & { readonly src?: number } = {},
): T {
  atMost("scatterObject", arguments, 2);
  checkArguments("scatterObject", { values }, { values: orNull(list) });
  checkOptions("scatterObject", options, { group: true, src: whole("[0, ∞)") });
  const group = groupOf("scatterObject", options.group);
  const src = options.src ?? group.ranks[0] ?? 0;
  const all = broadcastObject(group.ranks[group.rank] === src ? [...(values ?? [])] : [], { group, src });
  if (all.length !== group.size)
    throw new ArgumentError("scatterObject", `values for ${group.size} ranks on rank ${src}`, values);
  return all[group.rank] as T;
}
