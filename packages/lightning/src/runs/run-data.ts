/** Who brings the data of a run: what was passed, the data module, or the module itself. */
import { LightningDataModule } from "../datamodule.js";
import type { DataHooks, LoaderHook, TransferHook, Transferring } from "../data-hooks.js";
import { LightningModule } from "../module.js";
import { BEFORE_TRAINING, mustEnd } from "../promises.js";
import type { WarnOnce } from "../warnings.js";

export class RunData implements Transferring {
  constructor(
    readonly module: LightningModule,
    readonly datamodule: LightningDataModule | null,
    readonly warnings: WarnOnce,
  ) {}

  /** Loaders that nobody has passed. A data module brings all there are; without one the module does. */
  own(hook: LoaderHook): unknown {
    const source: DataHooks = this.datamodule ?? this.module;
    return mustEnd(hook, source[hook](), BEFORE_TRAINING);
  }

  /** What was passed, or what {@link own} says. */
  loaders(hook: LoaderHook, passed: unknown): unknown {
    return passed === null || passed === undefined || passed instanceof LightningDataModule ? this.own(hook) : passed;
  }

  /** Those who prepare data, in their order. */
  get preparing(): readonly DataHooks[] {
    return [this.datamodule, this.module].filter((of) => of !== null && overrides(of, "prepareData")) as DataHooks[];
  }

  /** Whose hook changes or moves batches; null: nobody has one of their own. */
  transferring(hook: TransferHook): DataHooks | null {
    const inModule = overrides(this.module, hook);
    if (this.datamodule === null) return inModule ? this.module : null;
    if (overrides(this.datamodule, hook)) {
      if (inModule)
        this.warnings.warn(
          "WARN_TRANSFER_HOOK",
          `${hook}: module and data module both have one: that of the data module is called.`,
        );
      return this.datamodule;
    }
    return inModule ? this.module : null;
  }
}

/** Whether a module, or a data module, brings its own implementation of a hook. */
function overrides(of: LightningDataModule | LightningModule, hook: keyof DataHooks): boolean {
  const base: DataHooks = of instanceof LightningDataModule ? LightningDataModule.prototype : LightningModule.prototype;
  return of[hook] !== base[hook];
}
