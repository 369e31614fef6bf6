/** Schedules that are a formula of the step. Each multiplies the last learning rate, so that several can be chained. */
import { ArgumentError } from "../../errors.js";
import { atMost } from "../../options.js";
import type { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { inRange, share, whole } from "./arguments.js";
import { LRScheduler } from "./scheduler.js";

/**
 * base · f(step). A group that is added later keeps the learning rate that it came with: no function was given for it.
 */
export class LambdaLR extends LRScheduler {
  readonly #lambdas: readonly ((step: number) => number)[];
  constructor(optimizer: Optimizer, lrLambda: ((step: number) => number) | readonly ((step: number) => number)[]) {
    atMost("LambdaLR", arguments, 2);
    super(optimizer);
    const n = optimizer.paramGroups.length;
    this.#lambdas =
      typeof lrLambda === "function" ? new Array<(step: number) => number>(n).fill(lrLambda) : lambdas(lrLambda, n);
    this.start();
  }
  protected next(g: ParamGroup, base: number, i: number): number {
    const lambda = this.#lambdas[i];
    if (lambda === undefined) return g.lr;
    const factor: unknown = lambda(this.lastEpoch);
    if (typeof factor !== "number" || !Number.isFinite(factor))
      throw new ArgumentError(
        "LambdaLR",
        `the function of group ${i} to return a finite number at step ${this.lastEpoch}`,
        factor,
      );
    return base * factor;
  }
}
function lambdas(given: unknown, n: number): readonly ((step: number) => number)[] {
  if (!Array.isArray(given) || given.length !== n || !given.every((f) => typeof f === "function"))
    throw new ArgumentError("LambdaLR", `one function, or one per group (${n})`, given);
  return [...(given as ((step: number) => number)[])];
}
/** × gamma every `stepSize` steps. */
export class StepLR extends LRScheduler {
  constructor(
    optimizer: Optimizer,
    readonly stepSize: number,
    readonly gamma = 0.1,
  ) {
    atMost("StepLR", arguments, 3);
    whole("StepLR", "stepSize", stepSize);
    inRange("StepLR", "gamma", gamma);
    super(optimizer);
    this.start();
  }
  protected next(g: ParamGroup): number {
    return this.lastEpoch === 0 || this.lastEpoch % this.stepSize !== 0 ? g.lr : g.lr * this.gamma;
  }
}
/** × gamma at each milestone. */
export class MultiStepLR extends LRScheduler {
  readonly milestones: readonly number[];
  constructor(
    optimizer: Optimizer,
    milestones: readonly number[],
    readonly gamma = 0.1,
  ) {
    atMost("MultiStepLR", arguments, 3);
    if (!Array.isArray(milestones))
      throw new ArgumentError("MultiStepLR", "milestones to be an array of whole numbers", milestones);
    milestones.forEach((m, i) => whole("MultiStepLR", `milestones[${i}]`, m, 0));
    inRange("MultiStepLR", "gamma", gamma);
    super(optimizer);
    this.milestones = [...milestones];
    this.start();
  }
  protected next(g: ParamGroup): number {
    return g.lr * this.gamma ** this.milestones.filter((m) => m === this.lastEpoch).length;
  }
}
/** × gamma every step. */
export class ExponentialLR extends LRScheduler {
  constructor(
    optimizer: Optimizer,
    readonly gamma: number,
  ) {
    atMost("ExponentialLR", arguments, 2);
    inRange("ExponentialLR", "gamma", gamma);
    super(optimizer);
    this.start();
  }
  protected next(g: ParamGroup): number {
    return this.lastEpoch === 0 ? g.lr : g.lr * this.gamma;
  }
}
/** base · factor for the first `totalIters` steps. */
export class ConstantLR extends LRScheduler {
  constructor(
    optimizer: Optimizer,
    readonly factor = 1 / 3,
    readonly totalIters = 5,
  ) {
    atMost("ConstantLR", arguments, 3);
    share("ConstantLR", "factor", factor);
    whole("ConstantLR", "totalIters", totalIters);
    super(optimizer);
    this.start();
  }
  protected next(g: ParamGroup): number {
    if (this.lastEpoch === 0) return g.lr * this.factor;
    return this.lastEpoch === this.totalIters ? g.lr * (1 / this.factor) : g.lr;
  }
}
/** From base · startFactor to base · endFactor, in a line over `totalIters` steps: a warm-up. */
export class LinearLR extends LRScheduler {
  constructor(
    optimizer: Optimizer,
    readonly startFactor = 1 / 3,
    readonly endFactor = 1,
    readonly totalIters = 5,
  ) {
    atMost("LinearLR", arguments, 4);
    share("LinearLR", "startFactor", startFactor);
    inRange("LinearLR", "endFactor", endFactor, 0, 1);
    whole("LinearLR", "totalIters", totalIters);
    super(optimizer);
    this.start();
  }
  protected next(g: ParamGroup): number {
    if (this.lastEpoch === 0) return g.lr * this.startFactor;
    if (this.lastEpoch > this.totalIters) return g.lr;
    return (
      g.lr *
      (1 +
        (this.endFactor - this.startFactor) /
          (this.totalIters * this.startFactor + (this.lastEpoch - 1) * (this.endFactor - this.startFactor)))
    );
  }
}
/** base · (1 - step / totalIters)^power. */
export class PolynomialLR extends LRScheduler {
  constructor(
    optimizer: Optimizer,
    readonly totalIters = 5,
    readonly power = 1,
  ) {
    atMost("PolynomialLR", arguments, 3);
    whole("PolynomialLR", "totalIters", totalIters);
    inRange("PolynomialLR", "power", power);
    super(optimizer);
    this.start();
  }
  protected next(g: ParamGroup): number {
    if (this.lastEpoch === 0 || this.lastEpoch > this.totalIters) return g.lr;
    return g.lr * ((1 - this.lastEpoch / this.totalIters) / (1 - (this.lastEpoch - 1) / this.totalIters)) ** this.power;
  }
}
/** Half a cosine from base to etaMin over `tMax` steps. Loshchilov and Hutter, 2017, without restarts. */
export class CosineAnnealingLR extends LRScheduler {
  constructor(
    optimizer: Optimizer,
    readonly tMax: number,
    readonly etaMin = 0,
  ) {
    atMost("CosineAnnealingLR", arguments, 3);
    whole("CosineAnnealingLR", "tMax", tMax);
    inRange("CosineAnnealingLR", "etaMin", etaMin);
    super(optimizer);
    this.start();
  }
  protected next(g: ParamGroup, base: number): number {
    const { lastEpoch: e, tMax, etaMin } = this;
    if (e === 0) return g.lr;
    if ((e - 1 - tMax) % (2 * tMax) === 0) return g.lr + ((base - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2;
    return (
      ((1 + Math.cos((Math.PI * e) / tMax)) / (1 + Math.cos((Math.PI * (e - 1)) / tMax))) * (g.lr - etaMin) + etaMin
    );
  }
}
