import {
  amp,
  atMost,
  checkArguments,
  checkOptions,
  getDefaultDtype,
  kinds,
  type OptionNames,
  setDefaultDtype,
  verbatim,
} from "@nbit/torch";
import type { DType, Tensor, nn, optim } from "@nbit/torch";
import { mapTensors } from "../collections.js";
import type { PrecisionDescription } from "../diagnostics/explain.js";
import { bytesOf } from "../diagnostics/memory.js";
import type { ParameterLayout } from "../diagnostics/memory.js";
import { MisconfigurationError, misconfigured } from "../errors.js";
import type { Batch } from "../types.js";
import { availablePrecisions, entryNamed, parsePrecision } from "./catalogue.js";
import { autocasts } from "./entry.js";
import type { PrecisionEntry } from "./entry.js";
import type { PrecisionInput, PrecisionName } from "./names.js";
import type { PrecisionDTypes } from "./facts.js";
import type { GradientAccess } from "./gradient-access.js";
import type { GraphSupport } from "./graph-support.js";
import type { LossScaling } from "./loss-scaling.js";
import { matchRules } from "./patterns.js";
import { ALONE, Precision } from "./precision.js";
import { createPrecision } from "./registry.js";
import type { BackwardParts, PrecisionStep, RankExchange } from "./precision.js";
import { RunCasts } from "./weight-casts.js";

/** A precision that parts of the model run in, and the plugin that runs them. */
interface Region {
  readonly entry: PrecisionEntry;
  readonly plugin: Precision;
}

/** By module pattern, the precision of what it matches and of all below. */
export type ModulePrecisions = Readonly<Record<string, Exclude<PrecisionInput, "auto">>>;

export interface PrecisionForOptions {
  /** Precision of everything that no pattern matches, and of the steps themselves. Default 32. */
  readonly base?: Exclude<PrecisionInput, "auto">;
  /**
   * Keep the 16-bit casts of float32 weights until these change, as {@link MixedPrecisionOptions.cacheWeightCasts}
   * does. Default false.
   */
  readonly cacheWeightCasts?: boolean;
}
const NAMES: OptionNames<PrecisionForOptions> = { base: true, cacheWeightCasts: kinds.flag };

interface Resolved {
  readonly name: string;
  readonly precision: PrecisionName;
  readonly pattern: string;
}

/** What a model's conversion will do, found out before it does anything. */
interface Plan {
  readonly dtypes: Map<Tensor, DType>;
  readonly seams: { readonly module: nn.Module; readonly region: Region; readonly outer: Region }[];
  readonly resolved: Resolved[];
}

/** Modules whose forward is wrapped now, and what unwraps it. */
const wrapped = new WeakMap<nn.Module, () => void>();

/**
 * Different precisions for parts of a model.
 *
 * A pattern is a dotted module name in which `*` stands for one part and `**` for any number: `"head"`, `"backbone.*"`,
 * `"**.norm"`. It decides about the modules that it matches and about everything below them; where several match, the
 * one with more literal parts wins. True precisions hold weights in their dtype and cast inputs to it; mixed ones open
 * an autocast region. Outputs are cast to what surrounds the module, so that dtypes meet at every seam. One `16`
 * anywhere brings a loss scaler for the whole loss.
 *
 * @throws {MisconfigurationError} when made: for an unknown precision, and for 16-true beside 16-mixed, whose gradients
 * a scaler cannot take. When a run starts: for a pattern that matches no module, for two patterns that are equally
 * specific, and for a weight shared by modules of different dtypes.
 * @example new Trainer({ plugins: precisionFor({ head: "32-true", "backbone.*": "bf16" }) })
 */
export function precisionFor(rules: ModulePrecisions, options: PrecisionForOptions = {}): PerModulePrecision {
  atMost("precisionFor", arguments, 2);
  return new PerModulePrecision(rules, options);
}

/** See {@link precisionFor}. */
export class PerModulePrecision extends Precision {
  readonly name: PrecisionName;
  readonly dtypes: PrecisionDTypes;
  override readonly convertsInput: boolean;
  readonly rules: ReadonlyMap<string, PrecisionName>;
  /** By pattern; one for each precision that is used. */
  readonly #regions: ReadonlyMap<string, Region>;
  readonly #base: Region;
  /** What scales losses and steps: the base, or the precision of a rule when only that needs a scaler. */
  readonly #steps: Precision;
  readonly #casts: RunCasts;
  #resolved: readonly Resolved[] = [];
  #device = "cpu";

  constructor(rules: ModulePrecisions, options: PrecisionForOptions = {}) {
    super();
    atMost("PerModulePrecision", arguments, 2);
    const fail = misconfigured("precisionFor", "ERR_PRECISION_PATTERN");
    checkArguments("precisionFor", { rules }, { rules: kinds.record }, fail);
    checkOptions("precisionFor", options, NAMES, misconfigured("precisionFor", "ERR_PRECISION_PLUGIN"));
    const entries = Object.entries(rules);
    if (entries.length === 0)
      throw new MisconfigurationError(
        "precisionFor",
        "at least one pattern with a precision",
        rules,
        undefined,
        "ERR_PRECISION_PATTERN",
      );
    const base = entryFor(options.base ?? 32);
    const asked = entries.map(([pattern, value]) => [pattern, entryFor(value)] as const);
    const used = new Set([base, ...asked.map(([, entry]) => entry)]);
    if ([...used].some((e) => e.scalesLoss) && [...used].some((e) => e.dtypes.gradients === "float16")) {
      const received = asked.map(([pattern, entry]) => `${pattern}: ${entry.name}`).join(", ");
      const fix = 'A loss scaler cannot take float16 gradients: use "bf16-true" or "bf16" for one of them.';
      throw new MisconfigurationError(
        "precisionFor",
        "16-true without 16-mixed beside it",
        received,
        fix,
        "ERR_PRECISION_PATTERN",
      );
    }
    const regions = new Map([...used].map((entry) => [entry, regionOf(entry)]));
    const of = (entry: PrecisionEntry): Region => regions.get(entry) ?? regionOf(entry);
    this.name = base.name;
    this.rules = new Map(asked.map(([pattern, entry]) => [pattern, entry.name]));
    this.#regions = new Map(asked.map(([pattern, entry]) => [pattern, of(entry)]));
    this.#base = of(base);
    const scaled = base.scalesLoss ? base : [...used].find((e) => e.scalesLoss);
    this.#steps = of(scaled ?? base).plugin;
    this.#casts = new RunCasts("precisionFor", options.cacheWeightCasts);
    this.dtypes = base.dtypes;
    this.convertsInput = this.#base.plugin.convertsInput;
  }

  override onDevice(deviceType: string): void {
    this.#device = deviceType;
    for (const { plugin } of new Set([this.#base, ...this.#regions.values()])) plugin.onDevice(deviceType);
  }

  /** What each module that a pattern matched, or that lies at a seam, runs in. Empty before the first run. */
  get modules(): readonly { readonly name: string; readonly precision: string; readonly pattern: string }[] {
    return this.#resolved;
  }

  override convertModule(module: nn.Module): void {
    const plan = this.#plan(module); // throws before anything has changed
    for (const m of module.modules()) wrapped.get(m)?.();
    // Each tensor once, from what it is to what it will be: on its way through the base's dtype it would be rounded.
    for (const [t, dtype] of plan.dtypes) if (t.dtype !== dtype) convert(t, dtype);
    for (const { module: m, region, outer } of plan.seams) this.#wrap(m, region, outer);
    this.#resolved = plan.resolved;
  }

  #plan(module: nn.Module): Plan {
    const matches = matchRules(
      [...module.namedModules()].map(([name]) => name),
      this.#regions,
    );
    const visited = new Set<nn.Module>();
    const names = new Map<Tensor, string>();
    const plan: Plan = { dtypes: new Map(), seams: [], resolved: [] };
    const visit = (m: nn.Module, name: string, outer: Region): void => {
      if (visited.has(m)) return;
      visited.add(m);
      const match = matches.get(name);
      const region = match?.precision ?? outer;
      if (match !== undefined) plan.resolved.push({ name, precision: region.entry.name, pattern: match.pattern });
      const dtype = region.entry.dtypes.parameters;
      for (const [key, t] of ownTensors(m)) {
        // Whole numbers and complex ones stay as they are, wherever they are shared.
        if (!t.isFloatingPoint()) continue;
        const full = name === "" ? key : `${name}.${key}`;
        const before = plan.dtypes.get(t) ?? dtype;
        if (before !== dtype) {
          throw new MisconfigurationError(
            "precisionFor",
            "a weight that is shared to be held in one dtype",
            verbatim(`${names.get(t)} in ${before}, which is ${full} in ${dtype}`),
            "Give both modules the same precision.",
            "ERR_PRECISION_PATTERN",
          );
        }
        plan.dtypes.set(t, dtype);
        names.set(t, full);
      }
      if (region !== outer) plan.seams.push({ module: m, region, outer });
      for (const [child, sub] of m.namedModules())
        if (child !== "" && !child.includes(".")) visit(sub, name === "" ? child : `${name}.${child}`, region);
    };
    visit(module, "", this.#base);
    return plan;
  }

  #wrap(module: nn.Module, region: Region, outer: Region): void {
    const own = Object.getOwnPropertyDescriptor(module, "forward");
    const forward = module.forward as (...args: unknown[]) => unknown;
    const inside = region.entry.dtypes.parameters;
    const outside = outer.entry.dtypes.parameters;
    const mixed = autocasts(region.entry);
    const run = (fn: () => unknown): unknown => {
      const within = (): unknown => region.plugin.forward(fn);
      return mixed ? within() : amp.autocast({ deviceType: this.#device, enabled: false }, within);
    };
    const value = (...args: unknown[]): unknown => {
      // A mixed region takes 16-bit inputs as they are: its operators cast by themselves.
      const inputs = args.map((a) => cast(a, inside, mixed && autocasts(outer.entry)));
      const before = getDefaultDtype();
      setDefaultDtype(inside);
      try {
        return cast(
          run(() => forward.apply(module, inputs)),
          outside,
          false,
        );
      } finally {
        setDefaultDtype(before);
      }
    };
    Object.defineProperty(module, "forward", { value, configurable: true, writable: true, enumerable: false });
    wrapped.set(module, () => {
      wrapped.delete(module);
      if (own === undefined) Reflect.deleteProperty(module, "forward");
      else Object.defineProperty(module, "forward", own);
    });
  }

  override connect(module: nn.Module, optimizers: readonly optim.Optimizer[], ranks: RankExchange = ALONE): void {
    super.connect(module, optimizers, ranks);
    this.#base.plugin.connect(module, optimizers, ranks);
    if (this.#steps !== this.#base.plugin) this.#steps.connect(module, optimizers, ranks);
    this.#casts.begin(module, this.#device);
  }
  override endRun(): void {
    this.#casts.end();
  }
  override moduleInit<T>(fn: () => T): T {
    return this.#base.plugin.moduleInit(fn);
  }
  override convertInput(batch: Batch): Batch {
    return this.#base.plugin.convertInput(batch);
  }
  override forward<T>(fn: () => T): T {
    return this.#casts.run(() => this.#base.plugin.forward(fn));
  }
  override outside<T>(fn: () => T): T {
    return this.#base.plugin.outside(fn);
  }
  override scaleLoss(loss: Tensor): Tensor {
    return this.#steps.scaleLoss(loss);
  }
  override backward(loss: Tensor, parts: BackwardParts): void {
    this.#steps.backward(loss, parts);
  }
  override unscale(optimizer: optim.Optimizer): void {
    this.#steps.unscale(optimizer);
  }
  override step(optimizer: optim.Optimizer, closure?: () => Tensor): PrecisionStep {
    return this.#steps.step(optimizer, closure);
  }
  override update(stepped?: readonly optim.Optimizer[]): void {
    this.#steps.update(stepped);
  }
  override checkOptimizer(optimizer: optim.Optimizer, needsClosure: boolean): void {
    this.#steps.checkOptimizer(optimizer, needsClosure);
  }
  override get scaling(): LossScaling {
    return this.#steps.scaling;
  }
  override get gradients(): GradientAccess {
    return this.#steps.gradients;
  }
  override get graphs(): GraphSupport {
    return this.#steps.graphs;
  }
  override stateDict(): Record<string, unknown> | null {
    return this.#steps.stateDict();
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.#steps.loadStateDict(state);
  }
  override describe(): PrecisionDescription {
    const scale = this.#steps.lossScale;
    const matched = this.#resolved.map(({ name, precision }): [string, string] => [name, precision]);
    return {
      modules: matched.length > 0 ? matched : [...this.rules],
      ...(scale === null ? {} : { lossScaling: `dynamic, now ${scale}` }),
      memory: (module) => ({ dtypes: asHeld, casts: this.#casts.forecast(module) }),
    };
  }
}

/** Where every parameter is in a dtype of its own. */
const asHeld = ({ dtype }: Tensor): ParameterLayout => ({
  parameter: dtype,
  master: null,
  gradient: dtype,
  state: dtype,
});

function regionOf(entry: PrecisionEntry): Region {
  return { entry, plugin: createPrecision({ name: entry.name, deviceType: "cpu", ampLevel: null }, "native") };
}

function entryFor(value: unknown): PrecisionEntry {
  const name = parsePrecision(value);
  const entry = name === "auto" ? null : entryNamed(name);
  if (entry?.uniformWeights === true) return entry;
  const accepted = availablePrecisions()
    .filter((e) => e.uniformWeights)
    .map((e) => JSON.stringify(e.name));
  throw new MisconfigurationError(
    "precisionFor",
    `precisions among ${accepted.join(", ")}`,
    value,
    undefined,
    "ERR_PRECISION_PATTERN",
  );
}

function* ownTensors(m: nn.Module): Iterable<[string, Tensor]> {
  yield* m.namedParameters({ recurse: false });
  for (const [name, buffer] of m.namedBuffers()) if (!name.includes(".")) yield [name, buffer];
}

function convert(t: Tensor, dtype: DType): void {
  const { grad } = t;
  if (grad !== null) t.grad = null;
  t.setData(t.detach().to(dtype));
  if (grad !== null) t.grad = grad.to(dtype);
}

function cast(value: unknown, dtype: DType, keep16: boolean): unknown {
  return mapTensors(value, (t) =>
    !t.isFloatingPoint() || t.dtype === dtype || (keep16 && bytesOf(t.dtype) === 2) ? t : t.to(dtype),
  );
}
