/**
 * Float32 values of parameters from before they were cast: masters begin there, and what no optimizer steps goes back
 * there.
 */
import { type nn, scope, type Tensor } from "@nbit/torch";

export class Originals {
  readonly #values = new Map<Tensor, Tensor>();

  /** Copy those of some models. */
  keep(models: readonly nn.Module[]): void {
    for (const model of models) {
      for (const p of model.parameters())
        if (p.isFloatingPoint() && !this.#values.has(p)) this.#values.set(p, p.detach().clone());
    }
  }

  get(parameter: Tensor): Tensor | undefined {
    return this.#values.get(parameter);
  }

  /**
   * Masters have taken the values of `mastered`. Of the others, those of trainable 16-bit parameters stay: an
   * evaluation between two fits, without optimizers, loses nothing.
   */
  release(mastered: ReadonlySet<Tensor>): void {
    for (const [p, original] of this.#values) {
      const stays = !mastered.has(p) && p.requiresGrad && p.dtype !== "float32";
      if (stays) continue;
      this.#values.delete(p);
      if (!mastered.has(p)) original.dispose();
    }
  }

  /** Those that still round to what their parameters hold: nobody wrote to these. */
  unchanged(): (readonly [Tensor, Tensor])[] {
    return scope(() => [...this.#values].filter(([p, original]) => original.to(p.dtype).equal(p.detach())));
  }

  /** Put back those that are {@link unchanged}, and let go of all. */
  restore(): void {
    for (const [p, original] of this.unchanged()) {
      p.grad = null;
      p.setData(original);
    }
    for (const original of this.#values.values()) original.dispose();
    this.#values.clear();
  }

  /** Casting failed half-way: put all back, which takes no memory. */
  abandon(): void {
    for (const [p, original] of this.#values) {
      if (original.disposed) continue;
      if (p.dtype !== original.dtype) {
        p.grad = null;
        p.setData(original);
      }
      original.dispose();
    }
    this.#values.clear();
  }
}
