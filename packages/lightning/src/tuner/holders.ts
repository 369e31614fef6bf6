import type { LightningDataModule } from "../datamodule.js";
import type { LightningModule } from "../module.js";
import { runOf } from "../run-access.js";
import type { TrainerView } from "../trainer-view.js";
import type { Holder } from "./attribute.js";

/** Who may have a setting: the module, then the data module, whose counts where both have it. */
export function holdersOf(module: LightningModule, datamodule: LightningDataModule | null): Holder[] {
  return datamodule === null ? [module] : [module, datamodule];
}

/** The same of the run in progress. */
export function holdersIn(trainer: TrainerView, module: LightningModule): Holder[] {
  return holdersOf(module, runOf(trainer)?.data.datamodule ?? null);
}
