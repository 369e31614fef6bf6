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
    this.#held = new Map(this.#named());
    for (const tensor of new Set(this.#held.values())) {
      if (tensor.disposed || !tensor.isFloatingPoint() || tensor.dtype === this.#dtype) continue;
      const { grad } = tensor;
      if (grad !== null) {
        keep(grad);
        tensor.grad = null;
      }
      const original = outsideScopes(() => tensor.detach());
      const cast = original.to(this.#dtype);
      tensor.setData(cast);
      cast.dispose();
      lent.push({ tensor, original, grad });
    }
    this.#lent = lent;
  }

  giveBack(): void {
    if (this.#lent === null) return;
    this.#adoptReplacements();
    for (const { tensor, original, grad } of this.#lent) {
      if (!tensor.disposed) {
        takeOver(original, tensor);
        tensor.setData(original);
      }
      original.dispose();
      if (grad === null) continue;
      tensor.grad = grad;
      grad.dispose();
    }
    this.#lent = null;
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
