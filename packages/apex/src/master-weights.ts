/** Float32 masters of 16-bit parameters: what the optimizer steps, and what is saved. */
import { keep, NbitError, nn, noGrad, operators, optim, outsideScopes, scope, type Tensor } from "@nbit/torch";
import { MISUSE } from "./misuse.js";

const copy_ = operators("aten")["_foreach_copy_"];
const is16Bit = (t: Tensor): boolean => t.dtype === "float16" || t.dtype === "bfloat16";

/** One optimizer whose groups hold masters in place of 16-bit parameters. */
export class MasterWeights {
  readonly optimizer: optim.Optimizer;
  readonly #useMasters: boolean;
  readonly #pairs: (readonly [Tensor, Tensor])[] = [];
  /** True gradients of earlier backwards, out of the way while scaled ones are made; null: no scaled gradient is around. */
  #stashed: (Tensor | null)[] | null = null;
  /** The masters' gradients were stepped with. */
  #spent = false;
  /** Which loss the scaled gradients are of. */
  #lossId = 0;

  /** @param originals - The float32 values of parameters before they were cast: masters begin exactly there. */
  constructor(optimizer: optim.Optimizer, useMasters: boolean, originals: ReadonlyMap<Tensor, Tensor>) {
    this.optimizer = optimizer;
    this.#useMasters = useMasters;
    for (const group of optimizer.paramGroups) this.adopt(group, originals);
  }

  /** [model's parameter, its master], in the optimizer's order; float32 parameters stand for themselves. */
  get pairs(): readonly (readonly [Tensor, Tensor])[] {
    return this.#pairs;
  }

  /** Put masters in the place of a group's 16-bit parameters. */
  adopt(group: { params: Tensor[] }, originals: ReadonlyMap<Tensor, Tensor>): void {
    group.params = group.params.map((p) => {
      const master = this.#useMasters && is16Bit(p) ? outsideScopes(() => new nn.Parameter(originals.get(p) ?? p.detach().to({ dtype: "float32", copy: true }), { requiresGrad: p.requiresGrad })) : p;
      if (master !== p) optim.setStandIn(master, p);
      this.#pairs.push([p, master]);
      return master;
    });
  }

  /** Put the parameters back in their groups, in float32 and with the masters' exact values; state follows them. */
  restore(): void {
    const parameterOf = new Map(this.#pairs.map(([p, m]) => [m, p]));
    for (const group of this.optimizer.paramGroups) group.params = group.params.map((m) => parameterOf.get(m) ?? m);
    for (const [p, m] of this.#pairs) {
      if (p === m) continue;
      p.grad = null;
      m.grad = null;
      outsideScopes(() => p.setData(m.detach()));
      const state = this.optimizer.state.get(m);
      if (state === undefined) continue;
      this.optimizer.state.delete(m);
      this.optimizer.state.set(p, state);
    }
  }

  masters(): Tensor[] {
    return this.#pairs.map(([, m]) => m);
  }

  /** Whether gradients of a delayed backward are still multiplied by the scale. */
  get scaled(): boolean {
    return this.#stashed !== null;
  }

  /** Before a scaled backward: takes the true gradients of earlier ones out of the way, unless an earlier scaled one already did. Gives whether it did. */
  begin(lossId: number): boolean {
    if (this.#stashed !== null) {
      if (this.#lossId !== lossId) throw new NbitError(`scaleLoss: expected lossId ${this.#lossId}, whose gradients are still scaled. Received: lossId ${lossId}. Unscale each loss (delayUnscale: false) before the next.`, MISUSE);
      return false;
    }
    this.#lossId = lossId;
    if (this.#spent) for (const [p, m] of this.#pairs) if (p !== m) m.grad = null;
    this.#spent = false;
    this.#stashed = this.#pairs.map(([p, m]) => {
      const grad = m.grad;
      if (grad !== null && p === m) p.grad = null;
      return grad === null ? null : keep(grad);
    });
    return true;
  }

  /** A backward failed: its gradients are dropped, the true ones stay. */
  abort(): void {
    const stashed = this.#stashed;
    if (stashed === null) return;
    this.#stashed = null;
    this.#pairs.forEach(([p, m], i) => {
      p.grad = null;
      const before = stashed[i] ?? null;
      m.grad = before;
      before?.dispose();
    });
  }

  /** Forget gradients that are out of the way, and those of masters. */
  forget(): void {
    for (const t of this.#stashed ?? []) t?.dispose();
    this.#stashed = null;
    for (const [p, m] of this.#pairs) {
      if (p === m) continue;
      p.grad = null;
      m.grad = null;
    }
  }

  /** After a step: the next backward begins anew on the masters, whose gradients `model.zeroGrad()` does not reach. */
  stepped(): void {
    this.#spent = true;
  }

  /**
   * New gradients to the masters, divided by the scale, and added to those taken out of the way. Gives whether all were finite.
   * @param check - Whether to look for values that are not finite: waits for the device.
   */
  collect(scale: number, check: boolean): boolean {
    const stashed = this.#stashed ?? [];
    this.#stashed = null;
    return noGrad(() =>
      scope(() => {
        const fresh: (Tensor | null)[] = this.#pairs.map(([p, m]) => {
          const grad = p.grad;
          if (grad === null || p === m) return grad;
          p.grad = null;
          return grad.to("float32");
        });
        const present = fresh.filter((g) => g !== null);
        let finite = true;
        if (scale !== 1) for (const g of present) g.mul_(1 / scale);
        if (check) finite = present.every((g) => Number.isFinite(g.sum({ dtype: "float64" }).item()));
        this.#pairs.forEach(([, m], i) => {
          const g = fresh[i] ?? null;
          const before = stashed[i] ?? null;
          if (g === null) {
            if (before !== null) m.grad = before;
          } else m.grad = before === null ? g : before.add(g);
          before?.dispose();
        });
        return finite;
      }),
    );
  }

  /** The stepped masters, rounded into the model. */
  copyToModel(): void {
    const changed = this.#pairs.filter(([p, m]) => p !== m);
    if (changed.length === 0) return;
    noGrad(() => {
      copy_?.(
        changed.map(([p]) => p.detach()),
        changed.map(([, m]) => m.detach()),
      );
    });
  }
}
