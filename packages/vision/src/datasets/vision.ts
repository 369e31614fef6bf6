/** What data sets of images share. */
import { kinds } from "@nbit/torch";
import { apply, stepKind, type Step } from "../transforms/transform.js";

export interface VisionArguments {
  readonly root: string;
  /** Of each image: uint8, `[C, H, W]`. */
  readonly transform?: Step | null;
  /** Of each target, a number. */
  readonly targetTransform?: Step | null;
}
export const transform = kinds.byDefault(null, kinds.orNull(stepKind));

/**
 * What a loader makes batches of: an image, or what `transform` makes of it, and its class. Without a targetTransform
 * the class is a bigint, of which batches are int64, as PyTorch's are of Python's integers.
 */
export type Sample = [image: unknown, target: unknown];

export function sample(
  image: unknown,
  target: number,
  of: Pick<VisionArguments, "transform" | "targetTransform">,
): Sample {
  const { transform: t, targetTransform: g } = of;
  return [
    t === null || t === undefined ? image : apply(t, image),
    g === null || g === undefined ? BigInt(target) : apply(g, target),
  ];
}

/** The latest of what each data set is asked for. */
const turns = new WeakMap<object, Promise<unknown>>();
/**
 * What `fn` makes of a value that is loading, in the order of calls: files are read at once, and whichever is there
 * first, transforms draw in the order of elements.
 */
export function inTurn<V, R>(owner: object, loading: V | Promise<V>, fn: (value: V) => R): Promise<R> {
  const before = turns.get(owner);
  const mine = (async () => {
    const [value] = await Promise.all([loading, before]);
    return fn(value);
  })();
  turns.set(
    owner,
    mine.then(
      () => undefined,
      () => undefined,
    ),
  );
  return mine;
}
