import { noGrad, scope, verbatim } from "@nbit/torch";
import type { Device, optim, Tensor } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { mustEnd, STEPS_END } from "../promises.js";
import { LightningOptimizer } from "../loops/lightning-optimizer.js";
import { lossOf } from "../loops/loss-of.js";
import { attachHost, hostOf } from "../module.js";
import type { LightningModule, ModuleHost } from "../module.js";
import { NO_LOSS_SCALING } from "../precision/loss-scaling.js";
import type { Precision } from "../precision/precision.js";
import { captureRng, disposeRng, restoreRng } from "../rng.js";
import type { RngState } from "../rng.js";
import type { Strategy } from "../strategies/strategy.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch } from "../types.js";

/** What a dry run takes. */
export interface DryRunParts {
  readonly module: LightningModule;
  readonly precision: Precision;
  readonly device: Device;
  /** On the device, converted. */
  readonly batch: Batch;
  readonly batchIdx: number;
  /** Of several processes: parameters may be shared out. Null or undefined: this one trains alone. */
  readonly strategy?: Strategy | null;
  /** Losses are multiplied by it, in place of the scale of now. */
  readonly lossScale?: number;
  /** Accumulation: the loss is divided by it. Default 1. */
  readonly divisor?: number;
  /** Draw the random numbers that a step drew which began here. Default: as a step that begins now would. */
  readonly rng?: RngState;
}

/** Of the batch that a trainer is about to train on. */
export function partsOf(trainer: TrainerView, module: LightningModule, batch: Batch, batchIdx: number): DryRunParts {
  const { precision, rootDevice: device, accumulateGradBatches: divisor, strategy } = trainer;
  return { module, precision, device, batch, batchIdx, divisor, strategy };
}

/** Told what happens inside. */
export interface DryRunWatcher {
  /** Before and after what a step does, without what is kept and put back around it. */
  beforeStep?(): void;
  afterStep?(): void;
  /** The loss as the step method made it: not divided, not scaled. */
  onLoss?(loss: Tensor): void;
  beforeBackward?(scaled: Tensor): void;
  afterBackward?(): void;
  /**
   * After each backward, every gradient that is there, whole, multiplied by the loss scale; where processes share
   * gradients out, within backward, when it is there.
   */
  onGradient?(name: string, gradient: Tensor): void;
}

/**
 * Run forward and backward of one training step, and leave no trace of it: random state, buffers and gradients are
 * afterwards what they were before; nothing is logged and no optimizer steps.
 *
 * What the step method itself keeps in fields of the module (counters, lists) it keeps; the method is called once more
 * than training would.
 */
export function dryRun(parts: DryRunParts, watcher: DryRunWatcher = {}): void {
  const { module, device } = parts;
  scope(() => {
    const before = hostOf(module);
    const rng = captureRng(device);
    const buffers = module.buffers().map((buffer): [Tensor, Tensor] => [buffer, buffer.detach().clone()]);
    const parameters = module.parameters();
    const gradients = parameters.map((parameter) => parameter.grad);
    const host = new DryRunHost(parts, before, watcher);
    try {
      attachHost(module, host);
      for (const parameter of parameters) parameter.grad = null;
      if (parts.rng !== undefined) restoreRng(parts.rng, device);
      watcher.beforeStep?.();
      const look = (name: string, gradient: Tensor): void => watcher.onGradient?.(name, gradient);
      const { strategy } = parts;
      if (strategy?.rehearse === undefined) runStep(parts, host);
      else strategy.rehearse(() => runStep(parts, host), look);
    } finally {
      watcher.afterStep?.();
      attachHost(module, before);
      parameters.forEach((parameter, i) => (parameter.grad = gradients[i] ?? null));
      noGrad(() => {
        for (const [buffer, value] of buffers) buffer.copy_(value);
      });
      restoreRng(rng, device);
      disposeRng(rng);
    }
  });
}

function runStep(parts: DryRunParts, host: DryRunHost): void {
  const { module, precision, batch, batchIdx, divisor = 1 } = parts;
  const output = scope(() =>
    precision.forward(() => host.within("trainingStep", () => module.trainingStep(batch, batchIdx))),
  );
  const loss = lossOf(mustEnd("trainingStep", output, STEPS_END, "ERR_ASYNC_STEP"));
  if (module.automaticOptimization && loss !== null) host.backward(loss, divisor);
}

/** Stands in for the Trainer during a dry run: takes what is logged and forgets it, runs backward, steps nothing. */
class DryRunHost implements ModuleHost {
  readonly #parts: DryRunParts;
  readonly #before: ModuleHost | null;
  readonly #watcher: DryRunWatcher;

  constructor(parts: DryRunParts, before: ModuleHost | null, watcher: DryRunWatcher) {
    this.#parts = parts;
    this.#before = before;
    this.#watcher = watcher;
  }

  get trainer(): TrainerView {
    if (this.#before === null)
      throw new MisconfigurationError(
        "trainer",
        `${this.#parts.module.constructor.name} to be attached to a Trainer`,
        verbatim("no Trainer"),
        "Pass the module to trainer.fit first.",
        "ERR_NOT_ATTACHED",
      );
    return this.#before.trainer;
  }

  within<T>(_hook: string, fn: () => T): T {
    return fn();
  }

  backward(loss: Tensor, divisor: number): void {
    const { module, precision, strategy, lossScale } = this.#parts;
    this.#watcher.onLoss?.(loss);
    const divided = divisor === 1 ? loss : loss.div(divisor);
    const { scaling } = precision;
    // No backward that counts follows, which a scaler would wait for.
    const scaled =
      lossScale !== undefined
        ? (divided.dtype === "float64" ? divided : divided.to("float32")).mul(lossScale)
        : scaling === NO_LOSS_SCALING
          ? precision.scaleLoss(divided)
          : scaling.preview(divided);
    this.#watcher.beforeBackward?.(scaled);
    strategy?.gradients?.beforeBackward(scaled, false);
    module.backward(scaled);
    const { onGradient } = this.#watcher;
    if (onGradient !== undefined)
      for (const [name, { grad }] of module.namedParameters()) if (grad !== null) onGradient(name, grad);
    this.#watcher.afterBackward?.();
  }

  log(): void {}

  manualBackward(loss: Tensor): void {
    this.#parts.precision.outside(() => this.backward(loss, 1));
  }

  wrappedOptimizers(): readonly LightningOptimizer[] {
    const runner = {
      module: this.#parts.module,
      stepOptimizer: (_optimizer: optim.Optimizer, closure?: () => Tensor | null) => {
        closure?.();
      },
    };
    return this.trainer.optimizers.map((optimizer) => new LightningOptimizer(optimizer, runner));
  }

  clipGradients(): void {}
}
