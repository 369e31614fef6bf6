import type { StepDevice } from "@nbit/xla/step";
import type { Accelerator } from "../accelerators/accelerator.js";
import type { Strategy } from "./strategy.js";

/** An accelerator for which whole training steps are compiled; tensors stay the host's. */
export interface StepCompiler extends Accelerator {
  readonly float32MatmulPrecision: "highest" | "high" | "medium";
  /** The strategy of a name; `devices`: how many are used, -1 all. */
  strategyFor(asked: string | Strategy, devices: number): Strategy;
  /** Start what compiles and runs steps. A fit calls it once, before it makes its parts. */
  openStepDevice(devices: number): Promise<StepDevice>;
}

export function isStepCompiler(accelerator: Accelerator): accelerator is StepCompiler {
  return "openStepDevice" in accelerator && "strategyFor" in accelerator;
}
