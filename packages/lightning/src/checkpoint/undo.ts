import { keep, scope, type Tensor } from "@nbit/torch";
import type { LightningModule } from "../module.js";

/**
 * Takes back what was restored from a checkpoint, when a later part of it is refused: a run that does not begin changes
 * nothing.
 */
export class Undo {
  #steps: (() => void)[] = [];
  #kept: Tensor[] = [];

  add(step: () => void): void {
    this.#steps.push(step);
  }

  /** Copies of all weights, on the CPU, until they are forgotten. */
  keepWeights(module: LightningModule): void {
    const before = scope(
      () =>
        new Map([...module.stateDict({ keepVars: true })].map(([name, t]) => [name, keep(t.detach().cpu().clone())])),
    );
    this.#kept.push(...before.values());
    this.add(() => {
      module.loadStateDict(before, { strict: false });
    });
  }

  guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#run();
      throw error;
    }
  }

  async guardAsync(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#run();
      throw error;
    }
  }

  forget(): void {
    for (const tensor of this.#kept.splice(0)) tensor.dispose();
    this.#steps = [];
  }

  #run(): void {
    for (const step of this.#steps.reverse()) {
      try {
        step();
      } catch {
        // The first error is the one to report; the other steps are still worth taking.
      }
    }
    this.forget();
  }
}
