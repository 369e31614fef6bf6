/** Gradients that stay where they are. */
import { argBuffer, native, reserve } from "../native.js";
import { packedHandles, TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";

/**
 * The gradients that parameters have now, kept for work that knows their memory, such as a recorded CUDA graph: they
 * live until `dispose()`, whatever becomes of `p.grad`.
 *
 * @example
 * const held = new HeldGradients(model.parameters());
 * model.zeroGrad(); // p.grad is null
 * held.link(false); // and the same tensor again
 */
export class HeldGradients {
  readonly #parameters: readonly Tensor[];
  readonly #packed: TensorList;
  readonly #gradients: TensorList;

  constructor(parameters: Iterable<Tensor>) {
    this.#parameters = [...parameters];
    this.#packed = TensorList.of(this.#parameters);
    this.#gradients = TensorList.gradsOf(this.#packed);
  }

  /** How many parameters had a gradient. */
  get length(): number {
    return this.#parameters.length - this.#gradients.missing.length;
  }

  /**
   * Make the held gradients those of their parameters again. Does not wait for a device.
   *
   * @param keepValues - What a held gradient holds afterwards, where it had been replaced: the values of the newer one,
   * or zeros where there was none. False: what it held; for gradients that are to be cleared.
   * @returns How many had been replaced or taken away; null, with nothing changed, when a parameter that had no
   * gradient has one now.
   */
  link(keepValues: boolean): number | null {
    const n = this.#packed.length;
    reserve(2 * n);
    argBuffer.set(packedHandles(this.#packed));
    argBuffer.set(packedHandles(this.#gradients), n);
    const linked = native.linkGrads(n, keepValues);
    return linked < 0 ? null : linked;
  }

  /** Parameters that had no gradient have none again; then {@link link}, with the values of the held ones. */
  undo(): void {
    this.#packed.select(this.#gradients.missing).clearGrads();
    this.link(false);
  }

  /** Let go: from here on they live as long as their parameters have them. */
  dispose(): void {
    this.#gradients.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
