import { deepcopy, nn, noGrad, outsideScopes, scope, Tensor, type optim } from "@nbit/torch";
import { anyTensor, fieldsOf, optional, recordOf, type TypeOf } from "@nbit/torch/schema";
import { checkState, damaged } from "../checkpoint/schema.js";
import type { LightningModule } from "../module.js";
import type { Precision } from "../precision/precision.js";
import { mastersOf } from "./masters.js";

const { prune } = nn.utils;
/** A parameter by its module and field. */
export type PrunedPlace = readonly [module: nn.Module, name: string];

const STATE = fieldsOf({
  /** By name of the parameter. */
  masks: optional(recordOf(anyTensor)),
  originals: optional(recordOf(anyTensor)),
  first: optional(recordOf(anyTensor)),
});

interface Place {
  readonly module: nn.Module;
  readonly field: string;
  /** In a state dict, before it was pruned. */
  readonly key: string;
}

/** The parameters that one callback prunes: their masks and first values, and how they go through checkpoints. */
export class PrunedParameters {
  readonly #how: { readonly keepsFirst: boolean; readonly resamples: boolean };
  #all: readonly Place[] = [];
  /** Values before training, by key, and copies of modules that can draw others. */
  readonly #first = new Map<string, Tensor>();
  readonly #drawn = new Map<nn.Module, nn.Module & { resetParameters(): void }>();
  #loadHook: { remove(): void } | null = null;
  #loaded: TypeOf<typeof STATE> | null = null;

  constructor(how: { readonly keepsFirst: boolean; readonly resamples: boolean }) {
    this.#how = how;
  }

  get places(): PrunedPlace[] {
    return this.#all.map(({ module, field }) => [module, field]);
  }

  /** A fit begins: before weights of a checkpoint are loaded. */
  begin(module: LightningModule, places: readonly PrunedPlace[]): void {
    this.end();
    const names = new Map<nn.Module, string>(Array.from(module.namedModules(), ([name, m]) => [m, name]));
    this.#all = places.map(([m, field]) => {
      const prefix = names.get(m) ?? "";
      return { module: m, field, key: `${prefix}${prefix === "" ? "" : "."}${m.stateKey(field)}` };
    });
    if (this.#how.keepsFirst) for (const place of this.#all) this.#keepFirst(place);
    this.#loadHook = module.registerLoadStateDictPreHook((_module, stateDict) => this.#expect(stateDict));
  }
  #keepFirst({ module, field, key }: Place): void {
    if (this.#how.resamples && canReset(module)) {
      if (!this.#drawn.has(module))
        this.#drawn.set(
          module,
          outsideScopes(() => deepcopy(module)),
        );
      return;
    }
    const value = tensorIn(module, field);
    if (value !== null)
      this.#first.set(
        key,
        outsideScopes(() => value.detach().clone()),
      );
  }
  /** A state dict with masks is of parameters that are pruned. */
  #expect(stateDict: ReadonlyMap<string, Tensor>): void {
    for (const { module, field, key } of this.#all)
      if (stateDict.has(`${key}_mask`) && !isPruned(module, field)) prune.identity(module, field);
  }

  /** Optimizers exist, and the state of training is not yet restored: what was pruned in a checkpoint is pruned again. */
  goOn(): void {
    const loaded = this.#loaded;
    this.#loaded = null;
    if (loaded === null) return;
    noGrad(() =>
      scope(() => {
        for (const { module, field, key } of this.#all) {
          const [mask, original, first] = [loaded.masks?.[key], loaded.originals?.[key], loaded.first?.[key]];
          if (first !== undefined) this.#replaceFirst(key, first);
          const value = tensorIn(module, field);
          if (mask === undefined || original === undefined || value === null) continue;
          if (String(mask.shape) !== String(value.shape))
            throw damaged("ModelPruning", `masks.${key} of the shape of its parameter`, mask);
          if (!isPruned(module, field))
            prune.customFromMask(module, field, mask.to({ device: value.device, dtype: value.dtype }));
          tensorIn(module, `${field}Orig`)?.detach().copy_(original);
        }
      }),
    );
    disposeAll(loaded);
  }
  #replaceFirst(key: string, value: Tensor): void {
    this.#first.get(key)?.dispose();
    this.#first.set(
      key,
      outsideScopes(() => value.detach().clone()),
    );
  }

  /** What is left goes back to its first values, or to new ones. */
  reset(optimizers: readonly optim.Optimizer[], precision: Precision): void {
    const masters = mastersOf(optimizers, precision);
    noGrad(() =>
      scope(() => {
        for (const copy of this.#drawn.values()) copy.resetParameters();
        for (const { module, field, key } of this.#all) {
          const drawn = this.#drawn.get(module);
          const value = drawn === undefined ? this.#first.get(key) : tensorIn(drawn, field);
          const into = tensorIn(module, `${field}Orig`) ?? tensorIn(module, field);
          if (value == null || into === null) continue;
          into.detach().copy_(value);
          masters.get(into)?.detach().copy_(value);
        }
      }),
    );
  }

  /** Per parameter: how many elements are pruned. Waits for the device. */
  counts(): { readonly name: string; readonly zeros: number; readonly size: number }[] {
    return this.#all.map(({ module, field, key }) => {
      const mask = tensorIn(module, `${field}Mask`);
      if (mask === null) return { name: key, zeros: 0, size: tensorIn(module, field)?.numel() ?? 0 };
      return { name: key, zeros: scope(() => mask.eq(0).sum().item()), size: mask.numel() };
    });
  }

  /** Parameters are plain ones again, with zeros. */
  makePermanent(optimizers: readonly optim.Optimizer[], precision: Precision): void {
    const masters = mastersOf(optimizers, precision);
    for (const { module, field } of this.#all) {
      const [mask, original] = [tensorIn(module, `${field}Mask`), tensorIn(module, `${field}Orig`)];
      if (mask === null || original === null) continue;
      noGrad(() => scope(() => masters.get(original)?.detach().mul_(mask)));
      prune.remove(module, field);
    }
  }

  /** `permanent`: a state dict has no masks, so that they are here. */
  stateDict(permanent: boolean): Record<string, unknown> {
    const masks: Record<string, Tensor> = {};
    const originals: Record<string, Tensor> = {};
    if (permanent)
      for (const { module, field, key } of this.#all) {
        const [mask, original] = [tensorIn(module, `${field}Mask`), tensorIn(module, `${field}Orig`)];
        if (mask === null || original === null) continue;
        masks[key] = mask;
        originals[key] = original;
      }
    return { masks, originals, first: Object.fromEntries(this.#first) };
  }
  loadStateDict(where: string, state: Record<string, unknown>): void {
    const { masks, originals, first } = checkState(where, STATE, state);
    const copies = (tensors: Readonly<Record<string, Tensor>> = {}): Record<string, Tensor> =>
      Object.fromEntries(
        Object.entries(tensors).map(([name, t]) => [name, outsideScopes(() => t.detach().clone())] as const),
      );
    if (this.#loaded !== null) disposeAll(this.#loaded);
    this.#loaded = { masks: copies(masks), originals: copies(originals), first: copies(first) };
  }

  /** The fit is over. */
  end(): void {
    this.#loadHook?.remove();
    this.#loadHook = null;
    for (const value of this.#first.values()) value.dispose();
    this.#first.clear();
    this.#drawn.clear();
  }
}

function disposeAll(state: TypeOf<typeof STATE>): void {
  for (const tensors of Object.values(state)) for (const t of Object.values(tensors ?? {})) t.dispose();
}
function tensorIn(module: nn.Module, field: string): Tensor | null {
  const value: unknown = Reflect.get(module, field);
  return value instanceof Tensor ? value : null;
}
function isPruned(module: nn.Module, field: string): boolean {
  return tensorIn(module, `${field}Mask`) !== null;
}
function canReset(module: nn.Module): module is nn.Module & { resetParameters(): void } {
  return typeof Reflect.get(module, "resetParameters") === "function";
}
