/** Schedules that multiply the last learning rate by a formula of the step, so that several can be chained. */
import { ArgumentError } from "../../errors.js";
import { byDefault, callable, either, listOf, real, whole, type Kind } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import type { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { COUNT, LAST_EPOCH, NON_NEGATIVE, OPTIMIZER, renamed } from "./arguments.js";
import { bisectRight, cosine, power } from "./numbers.js";
import { LRScheduler, type SchedulerArguments } from "./scheduler.js";

/** A factor for a step. */
export type LrLambda = (step: number) => number;
export interface LambdaArguments extends SchedulerArguments {
  /** One function for all groups, or one for each. */
  readonly lrLambda: LrLambda | readonly LrLambda[];
}
const LAMBDA: Kind<LrLambda> = callable as Kind<LrLambda>;
const LAMBDA_ROWS = {
  optimizer: OPTIMIZER,
  lrLambda: either(LAMBDA, listOf(LAMBDA)),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<LambdaArguments>;
const readLambda = signature("LambdaLR", LAMBDA_ROWS);
type LambdaCall = Call<
  LambdaArguments,
  ["optimizer", "lrLambda", "lastEpoch"],
  [optimizer: Optimizer, lrLambda: LrLambda | readonly LrLambda[], lastEpoch?: number]
>;

abstract class ByLambdas extends LRScheduler {
  readonly #lambdas: readonly LrLambda[];
  constructor(...given: LambdaCall) {
    const { optimizer, lrLambda, lastEpoch } = readLambda(given, new.target.name);
    const lambdas = lambdasOf(new.target.name, lrLambda, optimizer.paramGroups.length);
    super(optimizer, lastEpoch);
    this.#lambdas = lambdas;
    this.start();
  }
  /** What the function of a group says; null where it has none. */
  protected factor(i: number): number | null {
    const lambda = this.#lambdas[i];
    if (lambda === undefined) return null;
    const factor: unknown = lambda(this.lastEpoch);
    if (typeof factor !== "number" || !Number.isFinite(factor))
      throw new ArgumentError(
        this.constructor.name,
        `the function of group ${i} to return a finite number at step ${this.lastEpoch}`,
        factor,
      );
    return factor;
  }
}
function lambdasOf(fn: string, given: LrLambda | readonly LrLambda[], n: number): readonly LrLambda[] {
  if (typeof given === "function") return new Array<LrLambda>(n).fill(given);
  if (given.length !== n) throw new ArgumentError(fn, `one function, or one per group (${n})`, given);
  return [...given];
}
/**
 * base · f(step). A group that is added later keeps the learning rate that it came with: no function was given for it.
 */
export class LambdaLR extends ByLambdas {
  protected override next(g: ParamGroup, base: number, i: number): number {
    const factor = this.factor(i);
    return factor === null ? g.lr : base * factor;
  }
}
/** × f(step) at each step, from the second on. */
export class MultiplicativeLR extends ByLambdas {
  protected override next(g: ParamGroup, _: number, i: number): number {
    return this.isInitial ? g.lr : g.lr * (this.factor(i) ?? 1);
  }
}

export interface StepLRArguments extends SchedulerArguments {
  readonly stepSize: number;
  /** Default 0.1. */
  readonly gamma?: number;
}
const readStep = signature("StepLR", {
  optimizer: OPTIMIZER,
  stepSize: COUNT,
  gamma: byDefault(0.1, NON_NEGATIVE),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<StepLRArguments>);
type StepLRCall = Call<
  StepLRArguments,
  ["optimizer", "stepSize", "gamma", "lastEpoch"],
  [optimizer: Optimizer, stepSize: number, gamma?: number, lastEpoch?: number]
>;
/** × gamma every `stepSize` steps. */
export class StepLR extends LRScheduler {
  readonly stepSize: number;
  readonly gamma: number;
  constructor(...given: StepLRCall) {
    const a = readStep(given, new.target.name);
    super(a.optimizer, a.lastEpoch);
    this.stepSize = a.stepSize;
    this.gamma = a.gamma;
    this.start();
  }
  protected override next(g: ParamGroup): number {
    return this.lastEpoch === 0 || this.lastEpoch % this.stepSize !== 0 ? g.lr : g.lr * this.gamma;
  }
  protected override closedForm(base: number): number {
    return base * power(this.gamma, Math.floor(this.lastEpoch / this.stepSize));
  }
}

export interface MultiStepArguments extends SchedulerArguments {
  readonly milestones: readonly number[];
  /** Default 0.1. */
  readonly gamma?: number;
}
const readMultiStep = signature("MultiStepLR", {
  optimizer: OPTIMIZER,
  milestones: listOf(whole("[0, ∞)")),
  gamma: byDefault(0.1, NON_NEGATIVE),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<MultiStepArguments>);
type MultiStepCall = Call<
  MultiStepArguments,
  ["optimizer", "milestones", "gamma", "lastEpoch"],
  [optimizer: Optimizer, milestones: readonly number[], gamma?: number, lastEpoch?: number]
>;
/** × gamma at each milestone. */
export class MultiStepLR extends LRScheduler {
  readonly milestones: readonly number[];
  readonly gamma: number;
  constructor(...given: MultiStepCall) {
    const a = readMultiStep(given, new.target.name);
    super(a.optimizer, a.lastEpoch);
    this.milestones = [...a.milestones];
    this.gamma = a.gamma;
    this.start();
  }
  protected override next(g: ParamGroup): number {
    const times = this.milestones.filter((m) => m === this.lastEpoch).length;
    return times === 0 ? g.lr : g.lr * power(this.gamma, times);
  }
  protected override closedForm(base: number): number {
    const sorted = [...this.milestones].sort((a, b) => a - b);
    return base * power(this.gamma, bisectRight(sorted, this.lastEpoch));
  }
}

export interface ExponentialArguments extends SchedulerArguments {
  readonly gamma: number;
}
const readExponential = signature("ExponentialLR", {
  optimizer: OPTIMIZER,
  gamma: NON_NEGATIVE,
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<ExponentialArguments>);
type ExponentialCall = Call<
  ExponentialArguments,
  ["optimizer", "gamma", "lastEpoch"],
  [optimizer: Optimizer, gamma: number, lastEpoch?: number]
>;
/** × gamma every step. */
export class ExponentialLR extends LRScheduler {
  readonly gamma: number;
  constructor(...given: ExponentialCall) {
    const a = readExponential(given, new.target.name);
    super(a.optimizer, a.lastEpoch);
    this.gamma = a.gamma;
    this.start();
  }
  protected override next(g: ParamGroup): number {
    return this.isInitial ? g.lr : g.lr * this.gamma;
  }
  protected override closedForm(base: number): number {
    return base * power(this.gamma, this.lastEpoch);
  }
}

export interface ConstantArguments extends SchedulerArguments {
  /** In (0, 1]. Default 1/3. */
  readonly factor?: number;
  /** Default 5. */
  readonly totalIters?: number;
}
const SHARE = real("(0, 1]");
const readConstant = signature("ConstantLR", {
  optimizer: OPTIMIZER,
  factor: byDefault(1 / 3, SHARE),
  totalIters: byDefault(5, COUNT),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<ConstantArguments>);
type ConstantCall = Call<
  ConstantArguments,
  ["optimizer", "factor", "totalIters", "lastEpoch"],
  [optimizer: Optimizer, factor?: number, totalIters?: number, lastEpoch?: number]
>;
/** base · factor for the first `totalIters` steps. */
export class ConstantLR extends LRScheduler {
  readonly factor: number;
  readonly totalIters: number;
  constructor(...given: ConstantCall) {
    const a = readConstant(given, new.target.name);
    super(a.optimizer, a.lastEpoch);
    this.factor = a.factor;
    this.totalIters = a.totalIters;
    this.start();
  }
  protected override next(g: ParamGroup): number {
    if (this.lastEpoch === 0) return g.lr * this.factor;
    return this.lastEpoch === this.totalIters ? g.lr * (1 / this.factor) : g.lr;
  }
  protected override closedForm(base: number): number {
    return base * (this.factor + Number(this.lastEpoch >= this.totalIters) * (1 - this.factor));
  }
}

export interface LinearArguments extends SchedulerArguments {
  /** In (0, 1]. Default 1/3. */
  readonly startFactor?: number;
  /** In [0, 1]. Default 1. */
  readonly endFactor?: number;
  /** Default 5. */
  readonly totalIters?: number;
}
const readLinear = signature("LinearLR", {
  optimizer: OPTIMIZER,
  startFactor: byDefault(1 / 3, SHARE),
  endFactor: byDefault(1, real("[0, 1]")),
  totalIters: byDefault(5, COUNT),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<LinearArguments>);
type LinearCall = Call<
  LinearArguments,
  ["optimizer", "startFactor", "endFactor", "totalIters", "lastEpoch"],
  [optimizer: Optimizer, startFactor?: number, endFactor?: number, totalIters?: number, lastEpoch?: number]
>;
/** From base · startFactor to base · endFactor, in a line over `totalIters` steps: a warm-up. */
export class LinearLR extends LRScheduler {
  readonly startFactor: number;
  readonly endFactor: number;
  readonly totalIters: number;
  constructor(...given: LinearCall) {
    const a = readLinear(given, new.target.name);
    super(a.optimizer, a.lastEpoch);
    this.startFactor = a.startFactor;
    this.endFactor = a.endFactor;
    this.totalIters = a.totalIters;
    this.start();
  }
  protected override next(g: ParamGroup): number {
    const { lastEpoch: n, totalIters, startFactor, endFactor } = this;
    if (n === 0) return g.lr * startFactor;
    if (this.isInitial || n > totalIters) return g.lr;
    return g.lr * (1 + (endFactor - startFactor) / (totalIters * startFactor + (n - 1) * (endFactor - startFactor)));
  }
  protected override closedForm(base: number): number {
    const { lastEpoch: n, totalIters, startFactor, endFactor } = this;
    return base * (startFactor + ((endFactor - startFactor) * Math.min(totalIters, n)) / totalIters);
  }
}

export interface PolynomialArguments extends SchedulerArguments {
  /** Default 5. */
  readonly totalIters?: number;
  /** Default 1. */
  readonly power?: number;
}
const readPolynomial = signature("PolynomialLR", {
  optimizer: OPTIMIZER,
  totalIters: byDefault(5, COUNT),
  power: byDefault(1, NON_NEGATIVE),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<PolynomialArguments>);
type PolynomialCall = Call<
  PolynomialArguments,
  ["optimizer", "totalIters", "power", "lastEpoch"],
  [optimizer: Optimizer, totalIters?: number, power?: number, lastEpoch?: number]
>;
/** base · (1 - step / totalIters)^power. */
export class PolynomialLR extends LRScheduler {
  readonly totalIters: number;
  readonly power: number;
  constructor(...given: PolynomialCall) {
    const a = readPolynomial(given, new.target.name);
    super(a.optimizer, a.lastEpoch);
    this.totalIters = a.totalIters;
    this.power = a.power;
    this.start();
  }
  protected override next(g: ParamGroup): number {
    const { lastEpoch: n, totalIters } = this;
    if (this.isInitial || n > totalIters) return g.lr;
    return g.lr * power((1 - n / totalIters) / (1 - (n - 1) / totalIters), this.power);
  }
  protected override closedForm(base: number): number {
    return base * power(1 - Math.min(this.totalIters, this.lastEpoch) / this.totalIters, this.power);
  }
}

export interface CosineArguments extends SchedulerArguments {
  /** Steps of half a cosine. */
  readonly TMax: number;
  /** Default 0. */
  readonly etaMin?: number;
}
const readCosine = signature("CosineAnnealingLR", {
  optimizer: OPTIMIZER,
  TMax: COUNT,
  etaMin: byDefault(0, NON_NEGATIVE),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<CosineArguments>);
type Positions = [optimizer: Optimizer, TMax: number, etaMin?: number, lastEpoch?: number];
type CosineCall =
  | Call<CosineArguments, ["optimizer", "TMax", "etaMin", "lastEpoch"], Positions>
  | Call<
      Omit<CosineArguments, "TMax"> & { readonly tMax: number },
      ["optimizer", "tMax", "etaMin", "lastEpoch"],
      Positions
    >;
/** Half a cosine from base to etaMin over `TMax` steps, and back. Loshchilov and Hutter, 2017, without restarts. */
export class CosineAnnealingLR extends LRScheduler {
  readonly TMax: number;
  readonly etaMin: number;
  /** `TMax` is also called `tMax`. */
  constructor(...given: CosineCall) {
    const a = readCosine(renamed(given, "tMax", "TMax"), new.target.name);
    super(a.optimizer, a.lastEpoch);
    this.TMax = a.TMax;
    this.etaMin = a.etaMin;
    this.start();
  }
  get tMax(): number {
    return this.TMax;
  }
  protected override next(g: ParamGroup, base: number): number {
    const { lastEpoch: e, TMax, etaMin } = this;
    if (this.isInitial) return g.lr;
    if (this.stepCount === 1 && e > 0) return etaMin + ((base - etaMin) * (1 + cosine((e * Math.PI) / TMax))) / 2;
    if ((e - 1 - TMax) % (2 * TMax) === 0) return g.lr + ((base - etaMin) * (1 - cosine(Math.PI / TMax))) / 2;
    return ((1 + cosine((Math.PI * e) / TMax)) / (1 + cosine((Math.PI * (e - 1)) / TMax))) * (g.lr - etaMin) + etaMin;
  }
  protected override closedForm(base: number): number {
    return this.etaMin + ((base - this.etaMin) * (1 + cosine((Math.PI * this.lastEpoch) / this.TMax))) / 2;
  }
}
