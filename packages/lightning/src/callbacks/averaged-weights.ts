import { noGrad, optim, outsideScopes, scope, type Device, type nn, type Tensor } from "@nbit/torch";
import type { Precision } from "../precision/precision.js";
import { mastersOf } from "./masters.js";

export type AvgFn = optim.swaUtils.AvgFn;
export type MultiAvgFn = optim.swaUtils.MultiAvgFn;

export interface AveragedWeightsOptions {
  /** Where averages live; null: where the weights do. */
  readonly device: Device | null;
  /** How buffers that a state dict has are taken in; "leave": they are not. */
  readonly buffers: "average" | "copy" | "leave";
  /** Both null: the mean of all. */
  readonly avgFn: AvgFn | null;
  readonly multiAvgFn: MultiAvgFn | null;
}

/** What is trained: the weights that averages are of. */
export interface AveragedModule {
  readonly module: nn.Module;
  readonly optimizers: readonly optim.Optimizer[];
  readonly precision: Precision;
}

/** A weight, where its most exact value is: a float32 master where the precision has one. */
interface Weight {
  /** The module's own. */
  readonly tensor: Tensor;
  readonly source: Tensor;
  readonly isBuffer: boolean;
}

/**
 * Averages of a module's weights, by their names in its state dict. Those of 16 bits are averaged in float32, in which
 * a small part of a new value is not rounded away; frozen parameters and whole numbers are the module's own.
 *
 * {@link apply} puts averages into the module, in its dtypes; {@link restore} takes them out again, to the last bit.
 */
export class AveragedWeights {
  readonly #of: AveragedModule;
  readonly #options: AveragedWeightsOptions;
  readonly #averages = new Map<string, Tensor>();
  /** What the module's tensors were, while averages are in their place; null: they are not. */
  #aside: Map<string, Tensor> | null = null;
  /** Names of buffers that are saved; null: nobody has asked. */
  #persistent: ReadonlySet<string> | null = null;
  /** How many states of the module are in the averages. */
  nAveraged = 0;

  constructor(of: AveragedModule, options: AveragedWeightsOptions) {
    this.#of = of;
    this.#options = options;
  }

  /** Take the weights as they are into the averages; the first time they are copied. */
  update(): void {
    noGrad(() =>
      scope(() => {
        const own: Tensor[] = [];
        const current: Tensor[] = [];
        for (const [name, weight] of this.#weights()) {
          const value = this.#valueOf(weight);
          const average = this.#averages.get(name);
          if (average === undefined)
            this.#averages.set(
              name,
              outsideScopes(() => value.clone()),
            );
          else if (weight.isBuffer && this.#options.buffers === "copy") average.copy_(value);
          else if (weight.isBuffer) average.copy_(average.where(average.eq(value), this.#averaged(average, value)));
          else {
            own.push(average);
            current.push(value);
          }
        }
        if (this.nAveraged > 0 && own.length > 0) this.#take(own, current);
        else own.forEach((average, i) => void average.copy_(current[i] as Tensor));
      }),
    );
    this.nAveraged++;
  }

  /** In the dtype and on the device of averages. */
  #valueOf({ source }: Weight): Tensor {
    const value = source.detach();
    const narrow = value.itemsize < 4 && !value.isComplex();
    return value.to({ device: this.#options.device ?? value.device, dtype: narrow ? "float32" : value.dtype });
  }

  #take(own: readonly Tensor[], current: readonly Tensor[]): void {
    const { multiAvgFn, avgFn } = this.#options;
    const onGpu = own[0]?.device.type === "cuda";
    const multi = multiAvgFn ?? (avgFn === null && onGpu ? optim.swaUtils.getSwaMultiAvgFn() : null);
    if (multi !== null) for (const [a, c] of ofOneKind(own, current)) multi(a, c, this.nAveraged);
    else own.forEach((average, i) => void average.copy_(this.#averaged(average, current[i] as Tensor)));
  }
  #averaged(average: Tensor, value: Tensor): Tensor {
    const { avgFn, multiAvgFn } = this.#options;
    if (multiAvgFn === null) return (avgFn ?? optim.swaUtils.getSwaAvgFn())(average, value, this.nAveraged);
    const next = average.clone();
    multiAvgFn([next], [value], this.nAveraged);
    return next;
  }

  /** Those that are averaged, by name. */
  #weights(): Map<string, Weight> {
    const { module, optimizers, precision } = this.#of;
    const masters = mastersOf(optimizers, precision);
    const weights = new Map<string, Weight>();
    for (const [name, tensor] of module.namedParameters())
      if (isAveraged(tensor) && (tensor.requiresGrad || this.#averages.has(name)))
        weights.set(name, { tensor, source: masters.get(tensor) ?? tensor, isBuffer: false });
    if (this.#options.buffers === "leave") return weights;
    this.#persistent ??= new Set(module.stateDict({ keepVars: true }).keys());
    for (const [name, tensor] of module.namedBuffers())
      if (isAveraged(tensor) && this.#persistent.has(name))
        weights.set(name, { tensor, source: tensor, isBuffer: true });
    return weights;
  }

  /** The module has the averages' values, rounded to its dtypes, until {@link restore}. Nothing where there are none. */
  apply(): void {
    if (this.#aside !== null || this.nAveraged === 0) return;
    const aside = new Map<string, Tensor>();
    this.#aside = aside;
    noGrad(() => {
      for (const [name, { tensor }] of this.#weights()) {
        const average = this.#averages.get(name);
        if (average === undefined) continue;
        aside.set(
          name,
          outsideScopes(() => tensor.detach().clone()),
        );
        scope(() => tensor.detach().copy_(average));
      }
    });
  }

  restore(): void {
    const aside = this.#aside;
    if (aside === null) return;
    noGrad(() => {
      for (const [name, { tensor }] of this.#weights()) {
        const value = aside.get(name);
        if (value !== undefined) scope(() => tensor.detach().copy_(value));
      }
    });
    for (const value of aside.values()) value.dispose();
    this.#aside = null;
  }

  /** From here on the averages are the module's weights, and its masters. Nothing where there are none. */
  adopt(): void {
    this.restore();
    noGrad(() => {
      for (const [name, { tensor, source }] of this.nAveraged === 0 ? [] : this.#weights()) {
        const average = this.#averages.get(name);
        if (average === undefined) continue;
        scope(() => {
          tensor.detach().copy_(average);
          if (source !== tensor) source.detach().copy_(average);
        });
      }
    });
  }

  /** A state dict of the module, as it is: with its own values also while averages are in their place. */
  own(stateDict: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
    return this.#replaced(stateDict, (name, { tensor, source }) =>
      source === tensor ? (this.#aside?.get(name) ?? null) : null,
    );
  }
  /** The same with averages. */
  averaged(stateDict: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
    return this.#replaced(stateDict, (name) => this.#averages.get(name) ?? null);
  }
  /** A tensor that has two names is found by both. */
  #replaced(
    stateDict: Readonly<Record<string, Tensor>>,
    value: (name: string, weight: Weight) => Tensor | null,
  ): Record<string, Tensor> {
    const { module } = this.#of;
    const weights = this.#weights();
    const byTensor = new Map<Tensor, Tensor | null>();
    for (const [name, weight] of weights) byTensor.set(weight.tensor, value(name, weight));
    const result = { ...stateDict };
    const all = { removeDuplicate: false };
    for (const named of [module.namedParameters(all), module.namedBuffers(all)])
      for (const [name, tensor] of named) {
        const other = byTensor.get(tensor) ?? null;
        if (other !== null && name in result) result[name] = other;
      }
    return result;
  }

  /** Names of what is averaged. */
  get names(): string[] {
    return [...this.#averages.keys()];
  }
  /** Averages by name: the live ones. */
  tensors(): Record<string, Tensor> {
    return Object.fromEntries(this.#averages);
  }

  /** Go on with averages that were saved; they are copied. */
  load(averages: Readonly<Record<string, Tensor>>, nAveraged: number): void {
    this.dispose();
    for (const [name, { tensor }] of this.#weights()) {
      const saved = averages[name];
      if (saved === undefined) continue;
      const device = this.#options.device ?? tensor.device;
      const narrow = saved.itemsize < 4 && !saved.isComplex();
      const dtype = narrow ? "float32" : saved.dtype;
      this.#averages.set(
        name,
        outsideScopes(() => saved.detach().to({ device, dtype, copy: true })),
      );
    }
    this.nAveraged = nAveraged;
  }

  dispose(): void {
    this.restore();
    for (const average of this.#averages.values()) average.dispose();
    this.#averages.clear();
    this.nAveraged = 0;
  }
}

function isAveraged(tensor: Tensor): boolean {
  return tensor.isFloatingPoint() || tensor.isComplex();
}

/** Tensors of one dtype and device at a time. */
function ofOneKind(own: readonly Tensor[], current: readonly Tensor[]): Iterable<readonly [Tensor[], Tensor[]]> {
  const kinds = new Map<string, [Tensor[], Tensor[]]>();
  own.forEach((average, i) => {
    const key = `${average.dtype} ${average.device.toString()}`;
    const kin = kinds.get(key) ?? [[], []];
    kinds.set(key, kin);
    kin[0].push(average);
    kin[1].push(current[i] as Tensor);
  });
  return kinds.values();
}
