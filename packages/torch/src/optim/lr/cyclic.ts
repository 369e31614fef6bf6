/** Learning rates that go up and down between two bounds. */
import { ArgumentError } from "../../errors.js";
import { byDefault, callable, flag, oneOf, orNull, real, text, type Kind } from "../../kinds.js";
import { atMost, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import type { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { EACH, forGroups, LAST_EPOCH, OPTIMIZER } from "./arguments.js";
import { power } from "./numbers.js";
import { hasMomentum, LRScheduler, setMomentum, type SchedulerArguments } from "./scheduler.js";

/** What the height of a cycle is multiplied by, at a cycle (from 1) or at a step. */
export type ScaleFn = (x: number) => number;
export interface CyclicArguments extends SchedulerArguments {
  /** Lower bounds, for all groups or for each; groups begin with them. */
  readonly baseLr: number | readonly number[];
  /** Upper bounds. */
  readonly maxLr: number | readonly number[];
  /** Steps from the lower to the upper bound. Default 2000. */
  readonly stepSizeUp?: number;
  /** Steps back. Default null: as many. */
  readonly stepSizeDown?: number | null;
  /**
   * "triangular": every cycle is as high; "triangular2": each half of the last; "exp_range": × gamma^step. Of no
   * meaning with `scaleFn`. Default "triangular".
   */
  readonly mode?: "triangular" | "triangular2" | "exp_range";
  /** Default 1. */
  readonly gamma?: number;
  readonly scaleFn?: ScaleFn | null;
  /** What `scaleFn` is given. Default "cycle". */
  readonly scaleMode?: "cycle" | "iterations";
  /** Let momentum, or the first beta, go the other way. Default true. */
  readonly cycleMomentum?: boolean;
  /** Default 0.8. */
  readonly baseMomentum?: number | readonly number[];
  /** Default 0.9. */
  readonly maxMomentum?: number | readonly number[];
}
const POSITIVE = real("(0, ∞)");
const read = signature("CyclicLR", {
  optimizer: OPTIMIZER,
  baseLr: EACH,
  maxLr: EACH,
  stepSizeUp: byDefault(2000, POSITIVE),
  stepSizeDown: byDefault(null, orNull(POSITIVE)),
  mode: byDefault("triangular", text),
  gamma: byDefault(1, real()),
  scaleFn: byDefault(null, orNull(callable as Kind<ScaleFn>)),
  scaleMode: byDefault("cycle", oneOf("cycle", "iterations")),
  cycleMomentum: byDefault(true, flag),
  baseMomentum: byDefault(0.8, EACH),
  maxMomentum: byDefault(0.9, EACH),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<CyclicArguments>);
type CyclicCall = Call<
  CyclicArguments,
  [
    "optimizer",
    "baseLr",
    "maxLr",
    "stepSizeUp",
    "stepSizeDown",
    "mode",
    "gamma",
    "scaleFn",
    "scaleMode",
    "cycleMomentum",
    "baseMomentum",
    "maxMomentum",
    "lastEpoch",
  ],
  [
    optimizer: Optimizer,
    baseLr: number | readonly number[],
    maxLr: number | readonly number[],
    stepSizeUp?: number,
    stepSizeDown?: number | null,
    mode?: "triangular" | "triangular2" | "exp_range",
    gamma?: number,
    scaleFn?: ScaleFn | null,
    scaleMode?: "cycle" | "iterations",
    cycleMomentum?: boolean,
    baseMomentum?: number | readonly number[],
    maxMomentum?: number | readonly number[],
    lastEpoch?: number,
  ]
>;
/** How high a cycle is, and whether it depends on the cycle or on the step. */
const MODES: Readonly<Record<string, readonly ["cycle" | "iterations", (x: number, gamma: number) => number]>> = {
  triangular: ["cycle", () => 1],
  triangular2: ["cycle", (x) => 1 / power(2, x - 1)],
  exp_range: ["iterations", (x, gamma) => power(gamma, x)],
};

/**
 * Up from `baseLr` to `maxLr` in `stepSizeUp` steps, and down again; a step is a batch. With `cycleMomentum` momentum
 * goes down and up meanwhile. Smith, 2017, arXiv:1506.01186. A group that is added later keeps its own rate.
 * @throws {ArgumentError} `CyclicLR: expected an optimizer with momentum or betas with cycleMomentum. Received: …`
 */
export class CyclicLR extends LRScheduler {
  readonly maxLrs: readonly number[];
  readonly totalSize: number;
  readonly stepRatio: number;
  readonly cycleMomentum: boolean;
  readonly baseMomentums: readonly number[];
  readonly maxMomentums: readonly number[];
  readonly #scaleMode: "cycle" | "iterations";
  readonly #scale: ScaleFn;

  constructor(...given: CyclicCall) {
    const a = read(given, new.target.name);
    const fn = new.target.name;
    const mode = Object.hasOwn(MODES, a.mode) ? MODES[a.mode] : undefined;
    if (mode === undefined && a.scaleFn === null)
      throw new ArgumentError(fn, `mode to be ${Object.keys(MODES).join(", ")}, or a scaleFn`, a.mode);
    const each = (name: "baseLr" | "maxLr" | "baseMomentum" | "maxMomentum"): readonly number[] =>
      forGroups(fn, name, a.optimizer, a[name]);
    const [baseLrs, maxLrs] = [each("baseLr"), each("maxLr")];
    const [baseMomentums, maxMomentums] = a.cycleMomentum ? [each("baseMomentum"), each("maxMomentum")] : [[], []];
    if (a.cycleMomentum && !hasMomentum(a.optimizer))
      throw new ArgumentError(fn, "an optimizer with momentum or betas with cycleMomentum", a.optimizer);
    super(a.optimizer, a.lastEpoch);
    const down = a.stepSizeDown ?? a.stepSizeUp;
    this.totalSize = a.stepSizeUp + down;
    this.stepRatio = a.stepSizeUp / this.totalSize;
    this.maxLrs = maxLrs;
    this.cycleMomentum = a.cycleMomentum;
    this.baseMomentums = baseMomentums;
    this.maxMomentums = maxMomentums;
    const { scaleFn, gamma } = a;
    this.#scaleMode = scaleFn === null && mode !== undefined ? mode[0] : a.scaleMode;
    this.#scale = scaleFn ?? ((x) => mode?.[1](x, gamma) ?? 1);
    if (a.lastEpoch === -1)
      a.optimizer.paramGroups.forEach((g, i) => {
        g.lr = baseLrs[i] as number;
        g.initialLr ??= g.lr;
        if (!a.cycleMomentum) return;
        setMomentum(a.optimizer, g, maxMomentums[i] as number);
        Object.assign(g, { maxMomentum: maxMomentums[i], baseMomentum: baseMomentums[i] });
      });
    this.baseLrs.splice(0, Infinity, ...baseLrs);
    this.start();
  }
  /** What the height of a cycle is multiplied by. */
  scaleFn(x: number): number {
    atMost("CyclicLR.scaleFn", arguments, 1);
    return this.#scale(x);
  }

  /** How far between the bounds this step is. */
  #share(): readonly [share: number, scale: number] {
    const cycle = Math.floor(1 + this.lastEpoch / this.totalSize);
    const x = 1 + this.lastEpoch / this.totalSize - cycle;
    const share = x <= this.stepRatio ? x / this.stepRatio : (x - 1) / (this.stepRatio - 1);
    return [share, this.#scale(this.#scaleMode === "cycle" ? cycle : this.lastEpoch)];
  }
  protected override next(g: ParamGroup, base: number, i: number): number {
    const most = this.maxLrs[i];
    if (most === undefined) return g.lr;
    const [share, scale] = this.#share();
    return base + (most - base) * share * scale;
  }
  protected override momenta(): readonly (number | null)[] | null {
    if (!this.cycleMomentum) return null;
    const [share, scale] = this.#share();
    return this.maxMomentums.map((most, i) => most - (most - (this.baseMomentums[i] as number)) * share * scale);
  }
}
