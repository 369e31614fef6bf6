import { Float8Linear } from "@nbit/lowbit";
import { cat, noGrad, scope, type nn, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";

/**
 * Histories of float8 layers with delayed scaling: the largest values that any process saw, so that all scale alike. One
 * message for all of them after each step.
 */
export class Float8Histories {
  readonly #histories: readonly Tensor[];

  constructor(module: nn.Module) {
    this.#histories = [...module.modules()].flatMap((m) =>
      m instanceof Float8Linear
        ? [...m.namedBuffers({ recurse: false })]
            .filter(([name]) => name.startsWith("amax_history_"))
            .map(([, b]) => b.detach())
        : [],
    );
  }

  /** Numbers ≥ 0 order as the bits that histories hold. */
  share(): void {
    if (this.#histories.length === 0) return;
    noGrad(() =>
      scope(() => {
        const all = cat(this.#histories.map((h) => h.view([-1])));
        dist.allReduce(all, { op: "max" });
        let at = 0;
        for (const h of this.#histories) {
          h.copy_(all.narrow(0, at, h.numel()).view([...h.shape]));
          at += h.numel();
        }
      }),
    );
  }
}
