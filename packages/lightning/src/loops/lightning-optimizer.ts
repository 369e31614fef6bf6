import { ArgumentError, atMost, checkArguments, kinds, optim } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

/** What of a module limits gradients to one optimizer's parameters. */
export interface TogglesOptimizers {
  toggleOptimizer(optimizer: optim.Optimizer): void;
  untoggleOptimizer(): void;
}
/** Steps an optimizer as precision, hooks and counters require. The training step implements it. */
export interface OptimizerRunner {
  stepOptimizer(optimizer: optim.Optimizer, closure?: () => Tensor | null): void;
  /** Its gradients were cleared. */
  cleared?(optimizer: optim.Optimizer): void;
  readonly module: TogglesOptimizers;
}

const RUNNER = kinds.having<OptimizerRunner>("what steps optimizers, as the Trainer has it", {
  stepOptimizer: kinds.callable,
  module: kinds.having<TogglesOptimizers>("a module", {
    toggleOptimizer: kinds.callable,
    untoggleOptimizer: kinds.callable,
  }),
});

/**
 * What a module sees of an optimizer: `step` goes through the training step (unscale, hooks, step or skip), everything
 * else through to the optimizer itself.
 */
export class LightningOptimizer {
  readonly #runner: OptimizerRunner;

  constructor(
    readonly optimizer: optim.Optimizer,
    runner: OptimizerRunner,
  ) {
    atMost("LightningOptimizer", arguments, 2);
    checkArguments(
      "LightningOptimizer",
      { optimizer, runner },
      { optimizer: kinds.instanceOf("an optimizer", optim.Optimizer), runner: RUNNER },
    );
    this.#runner = runner;
  }

  get paramGroups(): optim.Optimizer["paramGroups"] {
    return this.optimizer.paramGroups;
  }

  /** `closure` runs forward and backward first; most optimizers do without. */
  step(closure?: () => Tensor | null): void {
    atMost("LightningOptimizer.step", arguments, 1);
    this.#runner.stepOptimizer(this.optimizer, closure);
  }

  zeroGrad(...options: Parameters<optim.Optimizer["zeroGrad"]>): void {
    this.optimizer.zeroGrad(...options);
    this.#runner.cleared?.(this.optimizer);
  }

  /** Run `fn` with gradients for this optimizer's parameters only. */
  toggled<T>(fn: () => T): T {
    atMost("LightningOptimizer.toggled", arguments, 1);
    if (typeof fn !== "function") throw new ArgumentError("LightningOptimizer.toggled", "fn to be a function", fn);
    this.#runner.module.toggleOptimizer(this.optimizer);
    try {
      return fn();
    } finally {
      this.#runner.module.untoggleOptimizer();
    }
  }
}
