/** Float32 masters of float16 parameters: what the optimizer steps, and what is saved. */
import { keep, nn, noGrad, operators, type optim, outsideScopes, scope, type Tensor } from "@nbit/torch";

const copy_ = operators("aten")["_foreach_copy_"];

/** One optimizer whose groups hold masters in place of float16 parameters. */
export class MasterWeights {
  readonly optimizer: optim.Optimizer;
  /** [model's parameter, its master], in the optimizer's order; float32 parameters stand for themselves. */
  readonly pairs: readonly (readonly [Tensor, Tensor])[];

  /** @param originals - The float32 values of parameters before they were cast: masters begin exactly there. */
  constructor(optimizer: optim.Optimizer, useMasters: boolean, originals: ReadonlyMap<Tensor, Tensor>) {
    this.optimizer = optimizer;
    const pairs: [Tensor, Tensor][] = [];
    for (const group of optimizer.paramGroups) {
      group.params = group.params.map((p) => {
        if (!useMasters || p.dtype !== "float16") {
          pairs.push([p, p]);
          return p;
        }
        const master = outsideScopes(() => new nn.Parameter(originals.get(p) ?? p.detach().to({ dtype: "float32", copy: true })));
        pairs.push([p, master]);
        return master;
      });
    }
    this.pairs = pairs;
  }

  masters(): Tensor[] {
    return this.pairs.map(([, m]) => m);
  }

  /** Gradients as they were before a scaled backward, taken out of the way. */
  stash(): (Tensor | null)[] {
    return this.pairs.map(([p, m]) => {
      const grad = m.grad;
      if (grad !== null && p === m) p.grad = null;
      return grad === null ? null : keep(grad);
    });
  }

  /**
   * New gradients to the masters, divided by the scale, and added to the stashed ones. Gives whether all were finite.
   * @param check - Whether to look for values that are not finite.
   */
  collect(stashed: readonly (Tensor | null)[], scale: number, check: boolean): boolean {
    return noGrad(() =>
      scope(() => {
        const fresh: (Tensor | null)[] = this.pairs.map(([p, m]) => {
          const grad = p.grad;
          if (grad === null) return null;
          if (p === m) return grad;
          p.grad = null;
          return grad.to("float32");
        });
        const present = fresh.filter((g) => g !== null);
        let finite = true;
        if (scale !== 1) for (const g of present) g.mul_(1 / scale);
        if (check) finite = present.every((g) => Number.isFinite(g.sum({ dtype: "float64" }).item()));
        this.pairs.forEach(([, m], i) => {
          const g = fresh[i] ?? null;
          const before = stashed[i] ?? null;
          if (g === null) {
            if (before !== null) m.grad = before;
          } else if (before === null) {
            m.grad = g;
          } else {
            m.grad = before.add(g);
          }
          before?.dispose();
        });
        return finite;
      }),
    );
  }

  /** The stepped masters, rounded into the model. */
  copyToModel(): void {
    const changed = this.pairs.filter(([p, m]) => p !== m);
    if (changed.length === 0) return;
    noGrad(() => {
      copy_?.(
        changed.map(([p]) => p.detach()),
        changed.map(([, m]) => m.detach()),
      );
    });
  }
}
