/** What can be compiled of a run, and what a compiled program is made for. */
import type { optim, Tensor } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { isOverridden, type Hooks } from "../hooks.js";
import type { LightningModule } from "../module.js";
import type { WindowRole } from "./window-role.js";

export interface Compilable {
  readonly module: LightningModule;
  readonly hooks: Hooks;
  readonly optimizers: readonly optim.Optimizer[];
  readonly device: { readonly name: string };
}

/** @throws {MisconfigurationError} ERR_XLA_STEP: what runs in JavaScript in the middle of a step. */
export function checkCompilable({ module, hooks, optimizers, device }: Compilable): void {
  const refuse = (expected: string, received: string, fix: string): never => {
    throw new MisconfigurationError("fit", `${expected} on ${device.name}`, received, fix, "ERR_XLA_STEP");
  };
  if (!module.automaticOptimization)
    refuse(
      "automatic optimization",
      "manual optimization",
      'It decides in JavaScript what comes next; use accelerator: "cpu".',
    );
  if (optimizers.length === 0) refuse("an optimizer", "none", "Return one from configureOptimizers.");
  for (const hook of ["onBeforeZeroGrad", "onBeforeBackward", "onAfterBackward", "onBeforeOptimizerStep"] as const)
    if (hooks.get(hook).length > 0)
      refuse(`no ${hook}`, hook, "It runs inside the step, which is a program of the device. Use onTrainBatchEnd.");
  for (const hook of ["optimizerStep", "configureGradientClipping", "optimizerZeroGrad"] as const)
    if (isOverridden(module, hook))
      refuse(`no ${hook} of the module's`, hook, "It runs inside the step, which is a program of the device.");
}

/** What a program is made for: everything in it that is no tensor. */
export function signatureOf(
  { module, optimizers }: Pick<Compilable, "module" | "optimizers">,
  role: WindowRole,
  inputs: Readonly<Record<string, Tensor>>,
): string {
  const shapes = Object.values(inputs).map((t) => `${t.dtype}[${t.shape.join()}]`);
  const numbers = optimizers.flatMap((optimizer) =>
    optimizer.paramGroups.map((group) => {
      const { params, lr, ...rest } = group;
      return JSON.stringify(optimizer.stepsByTensors ? [params.length, rest] : [params.length, lr, rest]);
    }),
  );
  return [role, modesOf(module), ...shapes, ...numbers].join("|");
}

/** Which modules train, and which parameters want gradients: layers freeze and thaw. */
export function modesOf(module: LightningModule): string {
  let modes = "";
  for (const each of module.modules()) modes += each.training ? "t" : "e";
  for (const p of module.parameters()) modes += p.requiresGrad ? "g" : "-";
  return modes;
}
