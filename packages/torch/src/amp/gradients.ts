/** Gradients by the lists that kernels take: all of one dtype, device and layout. */
import { noGrad } from "../autograd/modes.js";
import { gradientValues } from "../optim/gradient-values.js";
import { operator } from "../optim/operators.js";
import { parts } from "../optim/pairs.js";
import { TensorList } from "../tensor/list.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import * as errors from "./scaler-errors.js";

const checkAndUnscale_ = operator("_amp_foreach_non_finite_check_and_unscale_");
const foreachMul_ = operator("_foreach_mul_");

/** The gradients of some parameters; {@link dispose} when done. */
export class Gradients {
  readonly #params: readonly Tensor[];
  readonly #all: TensorList;

  constructor(params: readonly Tensor[]) {
    this.#params = params;
    this.#all = TensorList.gradsOf(TensorList.of(params));
  }

  /** Whether no parameter has one. */
  get none(): boolean {
    return this.#all.missing.length === this.#params.length;
  }

  /**
   * Lists of one kind each: sparse gradients by their values, complex ones as pairs of reals. `check` sees each
   * gradient with its parameter's position before any list is made.
   */
  #lists(check: ((gradient: Tensor, position: number) => void) | null): (TensorList | Tensor[])[] {
    const absent = new Set(this.#all.missing);
    const dense = new Map<string, number[]>();
    const others = new Map<string, Tensor[]>();
    for (let i = 0; i < this.#params.length; i++) {
      const grad = absent.has(i) ? null : (this.#params[i] as Tensor).grad;
      if (grad === null) continue;
      check?.(grad, i);
      const { dtype } = grad;
      const key = `${dtype} ${grad.device.toString()}`;
      if (grad.layout === "strided" && !dtype.startsWith("complex")) {
        const kind = dense.get(key);
        if (kind === undefined) dense.set(key, [i]);
        else kind.push(i);
        continue;
      }
      const real = parts(gradientValues(this.#resolved(grad, i)));
      const kind = others.get(key);
      if (kind === undefined) others.set(key, [real]);
      else kind.push(real);
    }
    return [...[...dense.values()].map((indices) => this.#all.select(indices)), ...others.values()];
  }

  /** A conjugate that is still to be computed has no parts to write to. */
  #resolved(grad: Tensor, position: number): Tensor {
    if (!grad.isComplex()) return grad;
    const computed = grad.resolveConj(); // itself, where there is nothing to compute
    if (computed.dataPtr() !== grad.dataPtr()) (this.#params[position] as Tensor).grad = computed;
    return computed;
  }

  /** Times a number that lies on the device: float32 []. In place. */
  multiply(factor: Tensor): void {
    if (this.none) return;
    noGrad(() => scope(() => this.#lists(null).forEach((list) => void foreachMul_(list, factor))));
  }

  /**
   * Times `factor`, in place, and `foundInf` is set where one is not finite.
   * @param deviceType - The scaler's.
   * @throws {NbitError} before anything is multiplied, for gradients that a scaler cannot work with.
   */
  checkAndMultiply(foundInf: Tensor, factor: Tensor, deviceType: string): void {
    if (this.none) return;
    noGrad(() =>
      scope(() =>
        this.#lists((grad, i) => checkKind(grad, i, deviceType)).forEach(
          (list) => void checkAndUnscale_(list, foundInf, factor),
        ),
      ),
    );
  }

  dispose(): void {
    this.#all.dispose();
  }
}

function checkKind(grad: Tensor, position: number, deviceType: string): void {
  const { dtype } = grad;
  if (grad.device.type !== deviceType) throw errors.otherDevice(position, grad.device.type, deviceType);
  if (dtype === "float16") throw errors.fp16Gradients(position);
  if (dtype === "bfloat16" && deviceType === "cuda") throw errors.bf16OnCuda(position);
}

/** `fn` with the gradients of some parameters. */
export function withGradients<T>(params: readonly Tensor[], fn: (gradients: Gradients) => T): T {
  const gradients = new Gradients(params);
  try {
    return fn(gradients);
  } finally {
    gradients.dispose();
  }
}

export const parametersOf = (optimizer: {
  readonly paramGroups: readonly { readonly params: readonly Tensor[] }[];
}): Tensor[] => optimizer.paramGroups.flatMap((g) => g.params);
