import { keep, noGrad, outsideScopes, scope } from "@nbit/torch";
import type { DType, Tensor, nn } from "@nbit/torch";

interface Lent {
  readonly tensor: Tensor;
  readonly original: Tensor;
  readonly grad: Tensor | null;
}

/**
 * Holds a module's weights and buffers in another floating dtype for a while. Both are in memory until the first ones are given back: exactly, with their gradients, but for the elements that were written meanwhile, which
 * keep what was written, rounded to their own dtype. So do tensors that were put in the place of a buffer.
 */
export class DtypeLoan {
  readonly #module: nn.Module;
  readonly #dtype: DType;
  #lent: Lent[] | null = null;
  /** Tensors by name, as they were when they were lent. */
  #held: ReadonlyMap<string, Tensor> = new Map();

  constructor(module: nn.Module, dtype: DType) {
    this.#module = module;
    this.#dtype = dtype;
  }

  lend(): void {
    if (this.#lent !== null) return;
    const lent: Lent[] = [];
    this.#lent = lent;
    this.#held = new Map(this.#named());
    try {
      this.#castAll(lent);
    } catch (error) {
      this.giveBack(); // those that are cast already: else they would stay so
      throw error;
    }
  }

  #castAll(lent: Lent[]): void {
    for (const tensor of new Set(this.#held.values())) {
      if (tensor.disposed || !tensor.isFloatingPoint() || tensor.dtype === this.#dtype) continue;
      const cast = scope(() => tensor.detach().to(this.#dtype));
      const { grad } = tensor;
      if (grad !== null) {
        keep(grad);
        tensor.grad = null;
      }
      lent.push({ tensor, original: outsideScopes(() => tensor.detach()), grad });
      tensor.setData(cast);
      cast.dispose();
    }
  }

  giveBack(): void {
    const lent = this.#lent;
    if (lent === null) return;
    const failures: unknown[] = [];
    const attempt = (fn: () => void): void => {
      try {
        fn();
      } catch (error) {
        failures.push(error);
      }
    };
    attempt(() => this.#adoptReplacements());
    this.#lent = null;
    // Whatever fails, such as memory for a comparison: every tensor gets its own values back.
    for (const { tensor, original, grad } of lent) {
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

  /** Run `fn` with what belongs to the module. */
  suspended<T>(fn: () => T): T {
    if (this.#lent === null) return fn();
    this.giveBack();
    try {
      return fn();
    } finally {
      this.lend();
    }
  }

  *#named(): Iterable<[string, Tensor]> {
    yield* this.#module.namedParameters();
    yield* this.#module.namedBuffers();
  }

  /** What was put in the place of a tensor that was lent has its dtype from here on. */
  #adoptReplacements(): void {
    const originals = new Map(this.#lent?.map(({ tensor, original }) => [tensor, original]));
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

/** Elements of `lent` that are no more what `original` was cast to are written to it. Values are compared, since batch norm writes its statistics without counting versions. */
function takeOver(original: Tensor, lent: Tensor): void {
  noGrad(() =>
    scope(() => {
      const now = lent.detach();
      const was = original.to(now.dtype);
      if (now.equal(was)) return;
      const untouched = now.eq(was).logicalOr(now.isnan().logicalAnd(was.isnan()));
      original.copy_(original.where(untouched, now.to(original.dtype)));
    }),
  );
}
