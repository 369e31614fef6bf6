/** Runs that only try something: of a module and a Trainer that are afterwards as before. */
import { cuda, DataLoader, noGrad, outsideScopes, scope, trimMemory, type Tensor } from "@nbit/torch";
import type { Callback } from "../callbacks/callback.js";
import { isOverridden } from "../hooks.js";
import { Fetcher, type Loader } from "../loops/fetch.js";
import { captureModes } from "../loops/module-modes.js";
import type { LightningModule } from "../module.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { captureRng, disposeRng, restoreRng } from "../rng.js";
import type { TrainerView } from "../trainer-view.js";

/** How a trial differs from the run that it is a trial of: it has no loggers, and these callbacks alone. */
export interface Trial {
  readonly callbacks: readonly Callback[];
  readonly options: Partial<ResolvedOptions>;
  /** Whether the module's schedulers are stepped. */
  readonly schedules: boolean;
}

/** Remembers weights, buffers, modes, random numbers and where loaders are. */
export class BeforeTrials {
  readonly #module: LightningModule;
  readonly #trainer: TrainerView;
  /** By name: the values, of which the names may have other tensors by then. */
  readonly #values: ReadonlyMap<string, Tensor>;
  readonly #restoreModes: () => void;
  readonly #rng: ReturnType<typeof captureRng>;
  readonly #precision: Record<string, unknown> | null;
  readonly #loaders: readonly (readonly [loader: DataLoader<unknown, unknown>, state: Record<string, unknown>])[];

  /** @param loaders - That trials may iterate. */
  constructor(trainer: TrainerView, module: LightningModule, loaders: readonly Loader[]) {
    this.#trainer = trainer;
    this.#module = module;
    // Layers that are made late are made now, so that they are as before, too.
    if (isOverridden(module, "configureModel")) trainer.precision.moduleInit(() => module.configureModel());
    this.#values = new Map(
      Array.from(tensorsOf(module), ([name, tensor]) => [name, outsideScopes(() => tensor.detach().clone())]),
    );
    this.#restoreModes = captureModes(module);
    this.#rng = captureRng(trainer.rootDevice);
    this.#precision = trainer.precision.stateDict();
    this.#loaders = loaders
      .filter((loader) => loader instanceof DataLoader)
      .map((loader) => [loader, loader.stateDict()] as const);
  }

  /** Everything is as it was; the memory that trials took goes back. */
  restore(): void {
    // What a precision keeps of the weights beside the module, as apex its masters, goes.
    scope(() => this.#trainer.precision.convertModule(this.#module));
    noGrad(() => {
      for (const [name, tensor] of tensorsOf(this.#module)) {
        const value = this.#values.get(name);
        if (value !== undefined) putBack(tensor, value);
      }
    });
    this.#module.zeroGrad();
    this.#restoreModes();
    restoreRng(this.#rng, this.#trainer.rootDevice);
    if (this.#precision !== null) this.#trainer.precision.loadStateDict(this.#precision);
    for (const [loader, state] of this.#loaders) new Fetcher(loader, undefined, "limit").resumeLoader(state, false);
    freeMemory();
  }

  /** What is remembered goes. */
  dispose(): void {
    for (const value of this.#values.values()) value.dispose();
    disposeRng(this.#rng);
  }
}

/** Give back what is not in use: to the system, and to the device's pool. */
export function freeMemory(): void {
  trimMemory();
  if (cuda.isAvailable()) cuda.emptyCache();
}

function* tensorsOf(module: LightningModule): Iterable<[string, Tensor]> {
  yield* module.namedParameters();
  yield* module.namedBuffers();
}

/** In the dtype and on the device that it had. */
function putBack(tensor: Tensor, value: Tensor): void {
  if (tensor.dtype === value.dtype && tensor.device === value.device) scope(() => tensor.detach().copy_(value));
  else {
    const copy = outsideScopes(() => value.clone());
    tensor.setData(copy);
    copy.dispose();
  }
}
