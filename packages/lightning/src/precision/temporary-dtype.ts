import { keep, noGrad, outsideScopes, scope } from "@nbit/torch";
import type { DType, Tensor, nn } from "@nbit/torch";

interface Cast {
  readonly tensor: Tensor;
  readonly original: Tensor;
  readonly grad: Tensor | null;
}

/** Gathers parameters in another dtype, null: as ever. False: there is nothing to gather. */
export type CastParameters = (dtype: DType | null) => boolean;

/**
 * Holds a module's weights and buffers in another floating dtype for a while. Both are in memory until the originals
 * are restored: exactly, with their gradients, but for the elements that were written meanwhile, which keep what was
 * written, rounded to their own dtype. So do tensors that were put in the place of a buffer.
 */
export class TemporaryDtype {
  readonly #module: nn.Module;
  readonly #dtype: DType;
  readonly #castParameters: CastParameters;
  #casts: Cast[] | null = null;
  #gathers = false;
  /** Tensors by name, as they were when they were cast. */
  #held: ReadonlyMap<string, Tensor> = new Map();

  /** @param castParameters - Where parameters are not held whole: whoever gathers them does so in the other dtype. */
  constructor(module: nn.Module, dtype: DType, castParameters: CastParameters = () => false) {
    this.#module = module;
    this.#dtype = dtype;
    this.#castParameters = castParameters;
  }

  apply(): void {
    if (this.#casts !== null) return;
    const casts: Cast[] = [];
    this.#casts = casts;
    try {
      this.#gathers = this.#castParameters(this.#dtype);
      this.#held = new Map(this.#named());
      this.#castAll(casts);
    } catch (error) {
      this.restore(); // those that are cast already: else they would stay so
      throw error;
    }
  }

  #castAll(casts: Cast[]): void {
    for (const tensor of new Set(this.#held.values())) {
      if (tensor.disposed || !tensor.isFloatingPoint() || tensor.dtype === this.#dtype) continue;
      const cast = scope(() => tensor.detach().to(this.#dtype));
      const { grad } = tensor;
      if (grad !== null) {
        keep(grad);
        tensor.grad = null;
      }
      casts.push({ tensor, original: outsideScopes(() => tensor.detach()), grad });
      tensor.setData(cast);
      cast.dispose();
    }
  }

  restore(): void {
    const casts = this.#casts;
    if (casts === null) return;
    const failures: unknown[] = [];
    const attempt = (fn: () => void): void => {
      try {
        fn();
      } catch (error) {
        failures.push(error);
      }
    };
    attempt(() => this.#adoptReplacements());
    this.#casts = null;
    if (this.#gathers) attempt(() => void this.#castParameters(null));
    // Whatever fails, such as memory for a comparison: every tensor gets its own values back.
    for (const { tensor, original, grad } of casts) {
      if (!tensor.disposed) {
        attempt(() => takeOver(original, tensor));
        tensor.setData(original);
      }
      original.dispose();
      if (grad === null) continue;
      tensor.grad = grad;
      grad.dispose();
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Run `fn` with the original tensors. */
  suspended<T>(fn: () => T): T {
    if (this.#casts === null) return fn();
    this.restore();
    try {
      return fn();
    } finally {
      this.apply();
    }
  }

  *#named(): Iterable<[string, Tensor]> {
    if (!this.#gathers) yield* this.#module.namedParameters();
    yield* this.#module.namedBuffers();
  }

  /** What was put in the place of a cast tensor has the dtype of its original from here on. */
  #adoptReplacements(): void {
    const originals = new Map(this.#casts?.map(({ tensor, original }) => [tensor, original]));
    for (const [name, tensor] of this.#named()) {
      const before = this.#held.get(name);
      const original = before === undefined || before === tensor ? undefined : originals.get(before);
      if (original === undefined || tensor.disposed || tensor.dtype !== this.#dtype || originals.has(tensor)) continue;
      const converted = tensor.detach().to(original.dtype);
      tensor.setData(converted);
      converted.dispose();
    }
  }
}

/**
 * Elements of `cast` that are no more what `original` was cast to are written to it. Values are compared, since batch
 * norm writes its statistics without counting versions.
 */
function takeOver(original: Tensor, cast: Tensor): void {
  noGrad(() =>
    scope(() => {
      const now = cast.detach();
      const was = original.to(now.dtype);
      if (now.equal(was)) return;
      const untouched = now.eq(was).logicalOr(now.isnan().logicalAnd(was.isnan()));
      original.copy_(original.where(untouched, now.to(original.dtype)));
    }),
  );
}
