import { plainText, verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { runOf } from "../run-access.js";
import type { TrainerView } from "../trainer-view.js";
import type { Callback } from "./callback.js";

/**
 * For callbacks that read and write parameters between steps: each process must have them whole, where JavaScript can
 * reach them.
 * @throws {MisconfigurationError} `ERR_CALLBACK_STRATEGY`: `ModelPruning: expected parameters that each process has as a
 * whole. Received: strategy fsdp. …`
 */
export function checkWholeParameters(callback: Callback, trainer: TrainerView): void {
  const run = runOf(trainer);
  const { strategy } = trainer;
  const name = callback.constructor.name;
  if (strategy.stateDict !== undefined)
    throw new MisconfigurationError(
      name,
      "parameters that each process has as a whole",
      verbatim(plainText(`strategy ${strategy.name}`)),
      'Use strategy: "ddp", or one process.',
      "ERR_CALLBACK_STRATEGY",
    );
  if (run !== null && "strategyFor" in run.owner.accelerator)
    throw new MisconfigurationError(
      name,
      "steps that run where the parameters are",
      verbatim(plainText(`accelerator ${run.owner.accelerator.name}, for which they are compiled`)),
      'Use accelerator: "cpu" or "cuda", or leave the callback out.',
      "ERR_CALLBACK_STRATEGY",
    );
}
