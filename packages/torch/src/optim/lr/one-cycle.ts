/** One cycle over the whole of a training. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, oneOf, orNull, real } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import type { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { COUNT, EACH, forGroups, LAST_EPOCH, OPTIMIZER } from "./arguments.js";
import { cosine } from "./numbers.js";
import { hasMomentum, LRScheduler, setMomentum, type SchedulerArguments } from "./scheduler.js";

export interface OneCycleArguments extends SchedulerArguments {
  /** The largest rate, of all groups or of each. */
  readonly maxLr: number | readonly number[];
  /** Steps of the cycle; null: `epochs` · `stepsPerEpoch`. */
  readonly totalSteps?: number | null;
  readonly epochs?: number | null;
  readonly stepsPerEpoch?: number | null;
  /** The share of the steps in which the rate rises. Default 0.3. */
  readonly pctStart?: number;
  /** Default "cos". */
  readonly annealStrategy?: "cos" | "linear";
  /** Let momentum, or the first beta, go the other way. Default true. */
  readonly cycleMomentum?: boolean;
  /** Default 0.85. */
  readonly baseMomentum?: number | readonly number[];
  /** Default 0.95. */
  readonly maxMomentum?: number | readonly number[];
  /** The first rate is maxLr / divFactor. Default 25. */
  readonly divFactor?: number;
  /** The last rate is the first / finalDivFactor. Default 1e4. */
  readonly finalDivFactor?: number;
  /** Go down to the first rate as slowly as up, then to the last. Default false: to the last at once. */
  readonly threePhase?: boolean;
}
const POSITIVE = real("(0, ∞)");
const read = signature("OneCycleLR", {
  optimizer: OPTIMIZER,
  maxLr: EACH,
  totalSteps: byDefault(null, orNull(COUNT)),
  epochs: byDefault(null, orNull(COUNT)),
  stepsPerEpoch: byDefault(null, orNull(COUNT)),
  pctStart: byDefault(0.3, real("[0, 1]")),
  annealStrategy: byDefault("cos", oneOf("cos", "linear")),
  cycleMomentum: byDefault(true, flag),
  baseMomentum: byDefault(0.85, EACH),
  maxMomentum: byDefault(0.95, EACH),
  divFactor: byDefault(25, POSITIVE),
  finalDivFactor: byDefault(1e4, POSITIVE),
  threePhase: byDefault(false, flag),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<OneCycleArguments>);
type OneCycleCall = Call<
  OneCycleArguments,
  [
    "optimizer",
    "maxLr",
    "totalSteps",
    "epochs",
    "stepsPerEpoch",
    "pctStart",
    "annealStrategy",
    "cycleMomentum",
    "baseMomentum",
    "maxMomentum",
    "divFactor",
    "finalDivFactor",
    "threePhase",
    "lastEpoch",
  ],
  [
    optimizer: Optimizer,
    maxLr: number | readonly number[],
    totalSteps?: number | null,
    epochs?: number | null,
    stepsPerEpoch?: number | null,
    pctStart?: number,
    annealStrategy?: "cos" | "linear",
    cycleMomentum?: boolean,
    baseMomentum?: number | readonly number[],
    maxMomentum?: number | readonly number[],
    divFactor?: number,
    finalDivFactor?: number,
    threePhase?: boolean,
    lastEpoch?: number,
  ]
>;
type Level = "initial" | "max" | "min";
type MomentumLevel = "maxMomentum" | "baseMomentum";
interface Phase {
  /** The step that it ends with. */
  readonly end: number;
  readonly rates: readonly [from: Level, to: Level];
  readonly momenta: readonly [from: MomentumLevel, to: MomentumLevel];
}
const NAMES = { initial: "initialLr", max: "maxLr", min: "minLr" } as const;

/**
 * Up from maxLr / divFactor to `maxLr`, and down far below where it began; a step is a batch. With `cycleMomentum`
 * momentum goes down and up meanwhile. Smith and Topin, 2018, arXiv:1708.07120. A group that is added later keeps its
 * own rate.
 * @throws {ArgumentError} `OneCycleLR: expected totalSteps, or epochs and stepsPerEpoch. Received: undefined.`, and for
 * a step beyond the last.
 */
export class OneCycleLR extends LRScheduler {
  readonly totalSteps: number;
  readonly cycleMomentum: boolean;
  readonly #phases: readonly Phase[];
  readonly #anneal: (from: number, to: number, share: number) => number;

  constructor(...given: OneCycleCall) {
    const a = read(given, new.target.name);
    const fn = new.target.name;
    const total = a.totalSteps ?? (a.epochs === null || a.stepsPerEpoch === null ? null : a.epochs * a.stepsPerEpoch);
    if (total === null) throw new ArgumentError(fn, "totalSteps, or epochs and stepsPerEpoch", undefined);
    const each = (name: "maxLr" | "baseMomentum" | "maxMomentum"): readonly number[] =>
      forGroups(fn, name, a.optimizer, a[name]);
    const maxLrs = each("maxLr");
    const [base, most] = a.cycleMomentum ? [each("baseMomentum"), each("maxMomentum")] : [[], []];
    if (a.cycleMomentum && !hasMomentum(a.optimizer))
      throw new ArgumentError(fn, "an optimizer with momentum or betas with cycleMomentum", a.optimizer);
    super(a.optimizer, a.lastEpoch);
    this.totalSteps = total;
    this.cycleMomentum = a.cycleMomentum;
    this.#anneal = a.annealStrategy === "cos" ? byCosine : byLine;
    const [down, up] = [
      ["maxMomentum", "baseMomentum"],
      ["baseMomentum", "maxMomentum"],
    ] as const;
    const rise: Phase = { end: a.pctStart * total - 1, rates: ["initial", "max"], momenta: down };
    this.#phases = a.threePhase
      ? [
          rise,
          { end: 2 * a.pctStart * total - 2, rates: ["max", "initial"], momenta: up },
          { end: total - 1, rates: ["initial", "min"], momenta: ["maxMomentum", "maxMomentum"] },
        ]
      : [rise, { end: total - 1, rates: ["max", "min"], momenta: up }];
    if (a.lastEpoch === -1)
      a.optimizer.paramGroups.forEach((g, i) => {
        const initialLr = (maxLrs[i] as number) / a.divFactor;
        Object.assign(g, { initialLr, maxLr: maxLrs[i], minLr: initialLr / a.finalDivFactor });
        if (!a.cycleMomentum) return;
        setMomentum(a.optimizer, g, most[i] as number);
        Object.assign(g, { maxMomentum: most[i], baseMomentum: base[i] });
      });
    this.baseLrs.splice(0, Infinity, ...a.optimizer.paramGroups.map((g) => g.initialLr as number));
    this.start();
  }

  /** The phase of this step, and how far in it the step is. */
  #phase(): readonly [phase: Phase, share: number] {
    const n = this.lastEpoch;
    if (n > this.totalSteps)
      throw new ArgumentError(
        `${this.constructor.name}.step`,
        `at most totalSteps (${this.totalSteps}) steps`,
        n,
        "Make the schedule with as many steps as the training has.",
      );
    let start = 0;
    let phase = this.#phases[0] as Phase;
    for (phase of this.#phases) {
      if (n <= phase.end || phase === this.#phases[this.#phases.length - 1]) break;
      start = phase.end;
    }
    return [phase, (n - start) / (phase.end - start)];
  }
  protected override next(g: ParamGroup): number {
    const [{ rates }, share] = this.#phase();
    const [from, to] = rates.map((level) => g[NAMES[level]]);
    return typeof from === "number" && typeof to === "number" ? this.#anneal(from, to, share) : g.lr;
  }
  protected override momenta(): readonly (number | null)[] | null {
    if (!this.cycleMomentum) return null;
    const [{ momenta }, share] = this.#phase();
    return this.optimizer.paramGroups.map((g) => {
      const [from, to] = momenta.map((level) => g[level]);
      return typeof from === "number" && typeof to === "number" ? this.#anneal(from, to, share) : null;
    });
  }
}

function byCosine(from: number, to: number, share: number): number {
  return to + ((from - to) / 2) * (cosine(Math.PI * share) + 1);
}
function byLine(from: number, to: number, share: number): number {
  return (to - from) * share + from;
}
