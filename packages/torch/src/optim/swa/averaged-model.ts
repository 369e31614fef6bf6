/** A model whose weights are averages of another's. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError } from "../../errors.js";
import { byDefault, callable, flag, instanceOf, orNull, type Kind } from "../../kinds.js";
import { Module } from "../../nn/module.js";
import { atMost, checkArguments, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import type { DeviceLike } from "../../tensor/device.js";
import { deviceKind } from "../../tensor/kinds.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { tensor } from "../../tensor/values.js";
import { advanceWeightsEpoch } from "../../weights-epoch.js";
import { getSwaAvgFn, getSwaMultiAvgFn, type AvgFn, type MultiAvgFn } from "./averages.js";

export interface AveragedModelArguments<M extends Module = Module> {
  /** It is copied as it is. */
  readonly model: M;
  /** Where the averages live. Default null: where the model does. */
  readonly device?: DeviceLike | null;
  /** How one tensor takes in another. Default null: the mean of all. */
  readonly avgFn?: AvgFn | null;
  /** The same over lists, which is faster. Default null. */
  readonly multiAvgFn?: MultiAvgFn | null;
  /** Average buffers, too. Default false: they are copied. */
  readonly useBuffers?: boolean;
}
const MODULE: Kind<Module> = instanceOf<Module>("a module", Module);
const ROWS = {
  model: MODULE,
  device: byDefault(null, orNull(deviceKind)),
  avgFn: byDefault(null, orNull(callable as Kind<AvgFn>)),
  multiAvgFn: byDefault(null, orNull(callable as Kind<MultiAvgFn>)),
  useBuffers: byDefault(false, flag),
} satisfies OptionNames<AveragedModelArguments>;
const read = signature("AveragedModel", ROWS);
type AveragedModelCall<M extends Module> = Call<
  AveragedModelArguments<M>,
  ["model", "device", "avgFn", "multiAvgFn", "useBuffers"],
  [model: M, device?: DeviceLike | null, avgFn?: AvgFn | null, multiAvgFn?: MultiAvgFn | null, useBuffers?: boolean]
>;

/**
 * Averages of a model's parameters, of all steps alike (stochastic weight averaging: Izmailov et al., 2018,
 * arXiv:1803.05407) or with `getEmaMultiAvgFn` of the last ones. `updateParameters(model)` after a step takes its
 * weights in; the first time they are copied. Averages are kept in the dtype of the parameters.
 *
 * After averages of all steps, statistics of batch norms are those of no weights that ever were: `updateBn`.
 *
 * State dict: `n_averaged`, and that of the model with `module.` before its keys.
 * @example
 * const ema = new optim.swaUtils.AveragedModel(model, { multiAvgFn: optim.swaUtils.getEmaMultiAvgFn(0.999) });
 * // after each step: ema.updateParameters(model)
 * @throws {ArgumentError} `AveragedModel: expected avgFn or multiAvgFn, but not both. Received: …`
 */
export class AveragedModel<M extends Module = Module> extends Module {
  readonly module: M;
  /** How many states of the model are in the averages. */
  readonly nAveraged: Tensor;
  readonly avgFn: AvgFn | null;
  readonly multiAvgFn: MultiAvgFn | null;
  readonly useBuffers: boolean;

  constructor(...given: AveragedModelCall<M>) {
    super();
    const a = read(given, new.target.name);
    if (a.avgFn !== null && a.multiAvgFn !== null)
      throw new ArgumentError(new.target.name, "avgFn or multiAvgFn, but not both", a.multiAvgFn);
    const copy = (a.model as M).clone();
    this.module = a.device === null ? copy : copy.to({ device: a.device });
    this.nAveraged = tensor(0, { dtype: "int64", device: a.device ?? "cpu" });
    this.registerBuffer("nAveraged", this.nAveraged);
    this.avgFn = a.avgFn;
    this.multiAvgFn = a.multiAvgFn;
    this.useBuffers = a.useBuffers;
  }
  /** What the averaged model makes of it. */
  override forward(...args: never[]): unknown {
    return (this.module as Module & { call(...args: never[]): unknown }).call(...args);
  }

  /** Take the weights of a model like the first one into the averages. Waits for the device of `nAveraged`. */
  updateParameters(model: Module): void {
    const fn = "AveragedModel.updateParameters";
    atMost(fn, arguments, 1);
    checkArguments(fn, { model }, { model: MODULE });
    const averaged = this.#averaged(this.module);
    const current = this.#averaged(model);
    if (averaged.length !== current.length)
      throw new ArgumentError(fn, `a model of ${averaged.length} tensors, as the first one`, current.length);
    averaged.forEach((t, i) => {
      if (String(t.shape) !== String(current[i]?.shape))
        throw new ArgumentError(fn, `tensor ${i} of shape [${t.shape.join(", ")}]`, current[i]);
    });
    try {
      noGrad(() => scope(() => this.#update(averaged, current, model)));
    } finally {
      advanceWeightsEpoch();
    }
  }
  #averaged(model: Module): Tensor[] {
    return [...model.parameters(), ...(this.useBuffers ? model.buffers() : [])];
  }
  #update(averaged: readonly Tensor[], current: readonly Tensor[], model: Module): void {
    const own = averaged.map((t) => t.detach());
    const there = current.map((t, i) => t.detach().to({ device: (own[i] as Tensor).device }));
    if (this.nAveraged.item() === 0) own.forEach((t, i) => void t.copy_(there[i] as Tensor));
    else if (this.avgFn === null) for (const kin of ofOneKind(own, there)) this.#updateKin(...kin);
    else this.#eachBy(this.avgFn, own, there);
    if (!this.useBuffers) {
      const buffers = model.buffers();
      this.module.buffers().forEach((b, i) => {
        const from = buffers[i];
        if (from !== undefined) b.detach().copy_(from.detach().to({ device: b.device }));
      });
    }
    this.nAveraged.add_(1);
  }
  #updateKin(averaged: readonly Tensor[], current: readonly Tensor[]): void {
    const device = (averaged[0] as Tensor).device;
    const multi = this.multiAvgFn ?? (device.type === "cuda" ? getSwaMultiAvgFn() : null);
    if (multi === null) this.#eachBy(getSwaAvgFn(), averaged, current);
    else multi(averaged, current, this.nAveraged.to({ device }));
  }
  #eachBy(average: AvgFn, averaged: readonly Tensor[], current: readonly Tensor[]): void {
    averaged.forEach((t, i) => {
      t.copy_(average(t, current[i] as Tensor, this.nAveraged.to({ device: t.device })));
    });
  }
}

/** Tensors of one dtype and device at a time. */
function ofOneKind(
  averaged: readonly Tensor[],
  current: readonly Tensor[],
): Iterable<readonly [averaged: Tensor[], current: Tensor[]]> {
  const kinds = new Map<string, [Tensor[], Tensor[]]>();
  averaged.forEach((t, i) => {
    const key = `${t.dtype} ${t.device.toString()}`;
    const kin = kinds.get(key) ?? [[], []];
    kinds.set(key, kin);
    kin[0].push(t);
    kin[1].push(current[i] as Tensor);
  });
  return kinds.values();
}
