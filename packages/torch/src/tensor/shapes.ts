/**
 * Shapes and dtypes that the compiler knows: `Tensor<["B", 784], "float32">`. Types alone: nothing of it exists when a
 * program runs, and a plain `Tensor` goes wherever one with a shape is wanted, and the other way round.
 *
 * A dimension is a number, or a name for one that is known when the program runs: two names are two sizes. Where an
 * operator's result is not known, it is a plain `Tensor`.
 */
import type { DType } from "./dtype.js";
import type { Tensor } from "./tensor.js";

/** A size, or the name of one. */
export type Dim = number | string;
/** `["B", 784]`; as a whole: any. */
export type Shape = readonly Dim[];

/** The shape of a tensor type. */
export type ShapeOf<T> = T extends Tensor<infer S, infer _> ? S : Shape;
/** The dtype of a tensor type. */
export type DTypeOf<T> = T extends Tensor<infer _, infer D> ? D : DType;
/** A tensor of the same shape and dtype. */
export type Same<T> = Tensor<ShapeOf<T>, DTypeOf<T>>;

/** Whether a shape says nothing, not even how many dimensions there are. */
type Unknown<S extends Shape> = number extends S["length"] ? true : false;
/** A size as JavaScript computes it is any; so is the one that `view` finds. */
type Known<D extends Dim> = number extends D ? Dim : `${D}` extends `-${string}` ? Dim : D;
/** The shape that a list of sizes makes. */
export type Sizes<N extends readonly number[]> = number extends N["length"]
  ? Shape
  : { readonly [K in keyof N]: Known<N[K]> };
/** Whether two dimensions may be equal. */
type MayEqual<A, B> = [A] extends [B] ? true : [B] extends [A] ? true : false;

/** What stands in place of an argument whose shape does not fit, so that the compiler's message shows it. */
export interface DoesNotFit<Message extends string, A, B> {
  readonly error: Message;
  readonly left: A;
  readonly right: B;
}

// ------------------------------------------------------------------ products

type Last<S extends Shape> = S extends readonly [...infer _, infer D] ? D : Dim;
type ButLast<S extends Shape> = S extends readonly [...infer N extends Shape, infer _] ? N : Shape;

/** `[…, K]` by `[K, M]`, and by a batch of them. */
type Product<A extends Shape, B extends Shape> =
  Unknown<A> extends true
    ? Shape
    : B extends readonly [infer _, infer M extends Dim]
      ? readonly [...ButLast<A>, M]
      : B extends readonly [infer _]
        ? ButLast<A>
        : Unknown<B> extends true
          ? Shape
          : A extends readonly [...infer N extends Shape, infer R extends Dim, infer _]
            ? N["length"] extends ButLast<ButLast<B>>["length"]
              ? readonly [...N, R, Extract<Last<B>, Dim>]
              : Shape
            : Shape;
type Inner<B extends Shape> = B extends readonly [infer K] ? K : Last<ButLast<B>>;
export type MatMul<T, O> = Tensor<Product<ShapeOf<T>, ShapeOf<O>>, DTypeOf<T>>;
/** Nothing more of the other factor, or why it does not fit. */
export type MatMulFits<T, O> =
  MayEqual<Last<ShapeOf<T>>, Inner<ShapeOf<O>>> extends true
    ? unknown
    : DoesNotFit<"the last dimension of the left is not the one before last of the right", ShapeOf<T>, ShapeOf<O>>;

/** The input of a layer that takes `[…, I]`. */
export type EndsWith<T, I extends Dim> =
  MayEqual<Last<ShapeOf<T>>, Known<I>> extends true
    ? unknown
    : DoesNotFit<"the last dimension is not what the layer takes", ShapeOf<T>, I>;
/** Its output `[…, O]`. */
export type WithLast<T, O extends Dim> =
  Unknown<ShapeOf<T>> extends true
    ? Tensor<Shape, DTypeOf<T>>
    : Tensor<readonly [...ButLast<ShapeOf<T>>, Known<O>], DTypeOf<T>>;

/** Two dimensions, exchanged. */
export type Transposed<T> =
  ShapeOf<T> extends readonly [infer A extends Dim, infer B extends Dim]
    ? Tensor<readonly [B, A], DTypeOf<T>>
    : Tensor<Shape, DTypeOf<T>>;

// ------------------------------------------------------------------ losses

/** The shape of class indices for logits `[N, C, …]`: `[N, …]`. */
type Classes<S extends Shape> = S extends readonly [infer N extends Dim, infer _, ...infer Rest extends Shape]
  ? readonly [N, ...Rest]
  : S extends readonly [infer _]
    ? readonly []
    : Shape;
/** A target of class indices, or of probabilities for each class. */
export type TargetFits<L, T> =
  MayEqual<ShapeOf<T>, Classes<ShapeOf<L>>> extends true
    ? unknown
    : MayEqual<ShapeOf<T>, ShapeOf<L>> extends true
      ? unknown
      : DoesNotFit<"the target is neither of classes nor of the logits' shape", ShapeOf<L>, ShapeOf<T>>;
/** A target of the input's shape. */
export type SameFits<A, B> =
  MayEqual<ShapeOf<A>, ShapeOf<B>> extends true
    ? unknown
    : DoesNotFit<"two tensors of one shape are wanted", ShapeOf<A>, ShapeOf<B>>;
