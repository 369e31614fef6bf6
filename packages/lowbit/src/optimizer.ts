/** Optimizers whose state is kept in few bits: one class, a family and a format as parameters. */
import {
  atMost,
  ArgumentError,
  cuda,
  isTensor,
  noGrad,
  optim,
  outsideScopes,
  scope,
  type DeviceLike,
  type DType,
  type Tensor,
  type TensorList,
  zeros,
  checkArguments,
  dtypeKind,
  kinds,
} from "@nbit/torch";
import { stepParameter, stepRecordably, sumsOfSquares } from "./cpu-step.js";
import { countSteps, deviceStep, deviceSteps, deviceSums, onDevice, stateLists, stepTensor } from "./device.js";
import { FAMILIES, type Family, type FamilyName, type Hyper } from "./families.js";
import { defaultBlock, FORMATS } from "./format.js";
import type { FormatName, StateFormat } from "./state-format.js";
import { Offload } from "./offload.js";
import { checkLowBitNames, checkLowBitOptions, type LowBitGroup, type LowBitOptions } from "./options.js";
import { overrideFor } from "./overrides.js";
import { adoptedState, freshState } from "./parameter-state.js";

/**
 * Base of them all. State keys are upstream's: step, state1, state2, qmap1, qmap2, absmax1, absmax2; and blockSize,
 * version.
 */
export class LowBitOptimizer extends optim.Optimizer {
  readonly family: Family;
  readonly format: StateFormat | null;
  #offload: Offload | null = null;
  /** While shards are stepped by a layerwise family: sums of squares over all of each parameter. */
  #sums: ReadonlyMap<Tensor, Tensor> | null = null;

  /** @param defaults - Those of a class that differ from the others'. */
  constructor(
    params: optim.ParamsLike,
    family: FamilyName,
    format: FormatName | null,
    options: LowBitOptions = {},
    defaults: LowBitOptions = {},
  ) {
    atMost(new.target.name, arguments, 5);
    checkArguments(
      new.target.name,
      { family, format },
      {
        family: kinds.oneOf(...(Object.keys(FAMILIES) as FamilyName[])),
        format: kinds.orNull(kinds.oneOf(...(Object.keys(FORMATS) as FormatName[]))),
      },
    );
    checkLowBitNames(new.target.name, family, options);
    const f = format === null ? null : FORMATS[format];
    super(params, {
      lr: 1e-3,
      betas: [0.9, 0.999],
      beta3: 0.9999,
      alpha: 5,
      eps: 1e-8,
      weightDecay: 0,
      momentum: 0.9,
      nesterov: false,
      trustCoefficient: 0.001,
      maxUnorm: 0,
      blockSize: defaultBlock(f),
      min8bitSize: 4096,
      keepPositive: true,
      offload: false,
      optimBits: 8,
      ...defaults,
      ...options,
    });
    this.family = FAMILIES[family];
    this.format = f;
    // The base checks groups before the format is known.
    for (const group of this.paramGroups) this.validate(group);
  }

  protected override validate(group: optim.ParamGroup): void {
    checkLowBitOptions(this.constructor.name, group as LowBitGroup, this.format);
  }

  /** Whether a parameter's state is kept in few bits: not where it is small, or an override or its group says 32. */
  isLowBit(p: Tensor, group: optim.ParamGroup = this.#groupOf(p)): boolean {
    atMost("LowBitOptimizer.isLowBit", arguments, 2);
    if (typeof group !== "object" || group === null || !("optimBits" in group))
      throw new ArgumentError(`${this.constructor.name}.isLowBit`, "a group of such an optimizer", group);
    const g = group as LowBitGroup;
    return (
      this.format !== null && g.optimBits !== 32 && overrideFor(p) !== 32 && optim.numelOfWhole(p) >= g.min8bitSize
    );
  }
  #groupOf(p: Tensor): optim.ParamGroup {
    const found = this.paramGroups.find((g) => g.params.includes(p));
    if (found === undefined)
      throw new ArgumentError(`${this.constructor.name}.isLowBit`, "a parameter of this optimizer", p);
    return found;
  }

  /**
   * Codes and one float32 scale per block, or float32 where the tensor is small; with Kahan rounding, the compensation
   * too.
   */
  override expectedStateBytes(p: Tensor, given?: DType): number {
    atMost("LowBitOptimizer.expectedStateBytes", arguments, 2);
    if (!isTensor(p))
      throw new ArgumentError(`${this.constructor.name}.expectedStateBytes`, "a parameter of this optimizer", p);
    const dtype = given ?? p.dtype;
    checkArguments(`${this.constructor.name}.expectedStateBytes`, { dtype }, { dtype: dtypeKind });
    const g = this.#groupOf(p) as LowBitGroup;
    const perState =
      this.format === null || !this.isLowBit(p, g)
        ? 4 * p.numel()
        : Math.ceil((this.format.bits * p.numel()) / 8) + 4 * Math.ceil(p.numel() / g.blockSize);
    return perState * this.family.states.length + (g.rounding === "kahan" && dtype !== "float32" ? 2 * p.numel() : 0);
  }

  override get stepsInFloat32(): boolean {
    return true;
  }
  /** As `8-bit dynamic, blocks of 256; float32 for 3 of 8 parameters`. */
  override get stateFormat(): string {
    const { format } = this;
    const groups = (this.paramGroups as LowBitGroup[]).map((g) => {
      const low = format === null ? [] : g.params.filter((p) => this.isLowBit(p, g));
      if (format === null || low.length === 0) return "float32";
      return `${format.description}, blocks of ${g.blockSize}${low.length < g.params.length ? `; float32 for ${g.params.length - low.length} of ${g.params.length} parameters` : ""}`;
    });
    return [...new Set(groups)].join("; ");
  }

  /** @internal */
  override elementsPerEntry(name: string, state: Readonly<Record<string, unknown>>): number | null {
    atMost("LowBitOptimizer.elementsPerEntry", arguments, 2);
    checkArguments("LowBitOptimizer.elementsPerEntry", { name, state }, { name: kinds.text, state: kinds.record });
    const { blockSize } = state;
    if (name.startsWith("qmap") || name === "step") return null;
    if (name.startsWith("absmax")) return typeof blockSize === "number" ? blockSize : null;
    return name.startsWith("state") && typeof blockSize === "number" && this.format?.bits === 4 ? 2 : 1;
  }

  /** On a GPU the kernel divides by the scale and skips by itself, so steps can be recorded in a CUDA graph. */
  override get supportsAmpScaling(): boolean {
    return onDevice(this.paramGroups.flatMap((g) => g.params));
  }

  /** @internal On the CPU, too: steps are made of plain operators there once {@link keepRatesOn} was called. */
  override get stepsByTensors(): boolean {
    return this.shards === null;
  }
  /** Counts become tensors, which a recorded step counts up. They stay so. */
  override keepRatesOn(device: DeviceLike): void {
    atMost(`${this.constructor.name}.keepRatesOn`, arguments, 1);
    super.keepRatesOn(device);
    outsideScopes(() => {
      for (const [p, state] of this.state)
        if (typeof state["step"] === "number") state["step"] = stepTensor(p, state["step"]);
    });
  }

  /**
   * State of 16-bit parameters that the base steps in float32 is made for the parameter itself, since overrides and
   * shared maps belong to it and not to its float32 copy.
   */
  override step(closure?: () => Tensor): Tensor | null {
    atMost("LowBitOptimizer.step", arguments, 1);
    for (const g of this.paramGroups)
      if (g["rounding"] === "kahan" || g["rounding"] === "stochastic")
        for (const p of g.params)
          if (p.requiresGrad && p.dtype !== "float32") this.stateOf(p, () => this.#fresh(p, g as LowBitGroup));
    return super.step(closure);
  }

  protected override stepping(fn: () => void): void {
    const { shards } = this;
    if (shards === null || !this.family.layerwise) return super.stepping(fn);
    super.stepping(() =>
      scope(() => {
        this.#sums = noGrad(() => this.#sumsOverShards(shards));
        try {
          fn();
        } finally {
          this.#sums = null;
        }
      }),
    );
  }
  /** In one message for all parameters. */
  #sumsOverShards({ parameters, reduce }: optim.Shards): ReadonlyMap<Tensor, Tensor> {
    const [first] = this.paramGroups.flatMap((g) => g.params);
    const all = zeros([parameters.length, 2], { dtype: "float64", device: first?.device ?? "cpu" });
    const sums = new Map(parameters.map((p, i) => [p, all.select(0, i)]));
    for (const group of this.paramGroups)
      for (const p of group.params)
        if (p.grad !== null) sums.get(optim.parameterOfMaster(p))?.copy_(this.#sumsOf(p, p.grad, group as LowBitGroup));
    reduce(all, "sum");
    return sums;
  }
  /** Of the elements that are here, as this step will find them. */
  #sumsOf(p: Tensor, grad: Tensor, g: LowBitGroup): Tensor {
    const state = this.stateOf(p, () => this.#fresh(p, g));
    const { compensation } = state;
    const plain = p.detach();
    const value = g.rounding === "kahan" && isTensor(compensation) ? plain.to("float32").add(compensation) : plain;
    const { states, absmax, qmaps } = stateLists(state, this.family.states.length, p);
    if (!onDevice([p])) {
      const hyper: Hyper = { ...this.#hyperOf(g), step: Number(state["step"]) + 1 };
      return sumsOfSquares(value, grad, { states, absmax, qmaps }, { family: this.family, hyper, group: g });
    }
    const { family, gradScale, foundInf } = this;
    const inputs = { rate: this.rateOf(g), gradScale, foundInf };
    const step = (state["step"] as Tensor).add(1);
    const hyper = { ...g, betas: this.#betasOf(g) };
    let made: Tensor | undefined;
    const host = [...states, ...absmax];
    const run = (there: readonly Tensor[]): void => {
      const [own, scales] = [there.slice(0, states.length), there.slice(states.length)];
      made = deviceSums({
        family,
        p: value,
        grad,
        states: own,
        absmax: scales,
        qmaps,
        step,
        hyper,
        inputs,
        sums: null,
      });
    };
    if (g.offload) this.#offloadOn(p).run([{ host, run }]);
    else run(host);
    return made as Tensor;
  }

  protected override stepGroup(
    group: optim.ParamGroup,
    params: readonly Tensor[],
    _: TensorList,
    grads: TensorList,
  ): void {
    const g = group as LowBitGroup;
    scope(() => {
      const list = grads.toArray();
      if (onDevice(params)) return this.#onDevice(g, params, list);
      params.forEach((p, i) => this.#stepOne(p, list[i] as Tensor, g));
    });
  }

  #stepOne(p: Tensor, grad: Tensor, g: LowBitGroup): void {
    const rate = this.rateOf(g);
    const state = this.stateOf(p, () => this.#fresh(p, g));
    // As the state says: while a 16-bit parameter is stepped in float32, another tensor stands in for it, which no
    // override knows.
    const format = isTensor(state["absmax1"]) ? this.format : null;
    if (isTensor(rate)) {
      const count = state["step"];
      const step = isTensor(count) ? count : outsideScopes(() => stepTensor(p, Number(count)));
      state["step"] = step;
      const hyper = { ...this.#hyperOf(g), lr: rate, step: step.add_(1) };
      return stepRecordably(p, grad, state, { family: this.family, format, hyper, group: g, sums: null });
    }
    const step = Number(isTensor(state["step"]) ? state["step"].item() : state["step"]) + 1;
    state["step"] = step;
    const hyper: Hyper = { ...this.#hyperOf(g), step };
    stepParameter(p, grad, state, { family: this.family, format, hyper, group: g, sums: this.#sumsFor(p) });
  }
  /** Of the whole parameter, where a layerwise family steps a shard of it. */
  #sumsFor(p: Tensor): Tensor | null {
    return this.#sums?.get(optim.parameterOfMaster(p)) ?? null;
  }

  #hyperOf(g: LowBitGroup): Omit<Hyper, "step"> {
    return {
      lr: g.lr,
      betas: this.#betasOf(g),
      beta3: g.beta3,
      alpha: g.alpha,
      eps: g.eps,
      weightDecay: g.weightDecay,
      nesterov: g.nesterov,
      trustCoefficient: g.trustCoefficient,
      maxUnorm: g.maxUnorm,
    };
  }
  #betasOf(g: LowBitGroup): readonly [number, number] {
    return this.family.name === "Lion" || this.family.states.length !== 1
      ? g.betas
      : [this.family.name === "RMSprop" ? g.betas[0] : g.momentum, 0];
  }

  #onDevice(g: LowBitGroup, params: readonly Tensor[], grads: readonly Tensor[]): void {
    const { family, foundInf, gradScale } = this;
    const all = params.map((p) => this.stateOf(p, () => this.#fresh(p, g)));
    const steps = all.map((s) => s["step"] as Tensor);
    countSteps(steps, foundInf, "before");
    const hyper = { ...g, betas: this.#betasOf(g) };
    const inputs = { rate: this.rateOf(g), gradScale, foundInf };
    const listsOf = (p: Tensor, i: number): ReturnType<typeof stateLists> =>
      stateLists(all[i] as optim.ParameterState, family.states.length, p);
    if (!g.offload && !family.layerwise) {
      deviceSteps(
        params.map((p, i) => ({
          family,
          p,
          grad: grads[i] as Tensor,
          ...listsOf(p, i),
          step: steps[i] as Tensor,
          hyper,
          inputs,
        })),
      );
      return countSteps(steps, foundInf, "after");
    }
    const jobs = params.map((p, i) => {
      const { states, absmax, qmaps } = listsOf(p, i);
      const run = (there: readonly Tensor[]): void => {
        deviceStep({
          family,
          p,
          grad: grads[i] as Tensor,
          states: there.slice(0, states.length),
          absmax: there.slice(states.length),
          qmaps,
          step: steps[i] as Tensor,
          hyper,
          inputs,
          sums: this.#sumsFor(p),
        });
      };
      return { host: [...states, ...absmax], run };
    });
    if (g.offload) this.#offloadOn(params[0] as Tensor).run(jobs);
    else for (const job of jobs) job.run(job.host);
    countSteps(steps, foundInf, "after");
  }

  #offloadOn(p: Tensor): Offload {
    return (this.#offload ??= new Offload(p.device.toString()));
  }
  /** State as it is after every step given so far: with `offload` this waits for the device. */
  override stateDict(): optim.OptimizerState {
    atMost("LowBitOptimizer.stateDict", arguments, 0);
    if (this.#offload !== null) cuda.synchronize();
    return super.stateDict();
  }

  #formatOf(p: Tensor, g: LowBitGroup): StateFormat | null {
    return this.isLowBit(p, g) ? this.format : null;
  }
  #fresh(p: Tensor, g: LowBitGroup): optim.ParameterState {
    return freshState(this.family, this.#formatOf(p, g), p, g);
  }

  protected override get algorithm(): string {
    return `${this.family.name} (low-bit)`;
  }
  /** All states in one format have one map. */
  protected override get sharedState(): readonly string[] {
    return this.family.states.map((_, i) => `qmap${i + 1}`);
  }
  protected override savedOptions(options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    const { blockSize: _1, min8bitSize: _2, optimBits: _3, offload: _4, ...taken } = options;
    return taken;
  }
  /**
   * Reads its own state and upstream's ({@link fromBitsandbytes} brings the latter into form); converts between
   * formats, block sizes and 32 bits as this optimizer keeps them. State in the same format is taken bit for bit.
   * Hyperparameters become those saved; how state is kept (`blockSize`, `min8bitSize`, `optimBits`, `offload`) stays as
   * this optimizer was made.
   * @throws {NbitError} `OPTIMIZER_STATE`, with nothing changed, when a state is missing or does not fit its parameter.
   */
  override loadStateDict(given: optim.OptimizerState | Readonly<Record<string, unknown>>): void {
    atMost("LowBitOptimizer.loadStateDict", arguments, 1);
    super.loadStateDict(given);
  }
  /** @internal */
  protected override adoptState(
    refuse: optim.Refuse,
    saved: optim.SavedParameter,
    p: Tensor,
    group: optim.ParamGroup,
  ): optim.ParameterState {
    const g = group as LowBitGroup;
    return outsideScopes(() => noGrad(() => adoptedState(refuse, saved, this.family, this.#formatOf(p, g), p, g)));
  }

  /** Bytes that the state holds now. */
  stateBytes(): number {
    atMost("LowBitOptimizer.stateBytes", arguments, 0);
    let bytes = 0;
    for (const s of this.state.values())
      for (const [name, v] of Object.entries(s)) if (isTensor(v) && !name.startsWith("qmap")) bytes += v.nbytes;
    return bytes;
  }
}
