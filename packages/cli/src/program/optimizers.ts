/** An optimizer and a schedule that settings name, in the place of the module's own. */
import { rankZeroWarn, type LightningModule, type OptimizerConfiguration } from "@nbit/lightning";
import { LightningModule as Base } from "@nbit/lightning";
import type { optim } from "@nbit/torch";
import { makeOptimizer, makeScheduler, type Recipe, type SchedulerParts } from "../classes/instantiate.js";
import { CommandError } from "../errors.js";

/** What becomes of the two: `LightningCLI.configureOptimizers`, which classes of one's own override. */
export type Configure = (
  module: LightningModule,
  optimizer: optim.Optimizer,
  lrScheduler: SchedulerParts | null,
) => OptimizerConfiguration;

export const configureOptimizers: Configure = (_module, optimizer, lrScheduler) =>
  lrScheduler === null ? optimizer : { optimizer, lrScheduler };

/** @throws {CommandError} `ERR_FLAG`: a schedule without an optimizer. */
export function replaceOptimizers(
  command: string,
  module: LightningModule,
  { optimizer, lrScheduler }: { readonly optimizer: Recipe | null; readonly lrScheduler: Recipe | null },
  configure: Configure,
): void {
  if (optimizer === null) {
    if (lrScheduler === null) return;
    throw new CommandError(
      "ERR_FLAG",
      `nbit ${command}: expected --optimizer with --lrScheduler. Received: ${lrScheduler.config.classPath} alone.`,
    );
  }
  if (module.configureOptimizers !== Base.prototype.configureOptimizers)
    rankZeroWarn(
      `nbit ${command}: ${optimizer.config.classPath} takes the place of what ${module.constructor.name}.configureOptimizers returns.`,
      "WARN_OPTIMIZER_REPLACED",
    );
  const made = (): OptimizerConfiguration => {
    const instance = makeOptimizer(optimizer, module);
    return configure(module, instance, lrScheduler === null ? null : makeScheduler(lrScheduler, instance));
  };
  Object.defineProperty(module, "configureOptimizers", { value: made, configurable: true, writable: true });
}
