/** Drives the units of a module through forward, backward and step. */
import { isGradEnabled, noGrad } from "../../autograd/modes.js";
import { ArgumentError, NbitError } from "../../errors.js";
import { orNull } from "../../kinds.js";
import { native } from "../../native.js";
import { alias, stack } from "../../ops/index.js";
import type { Module } from "../../nn/module.js";
import type { WeightCodes } from "../../nn/weight-codes.js";
import { setShard } from "../../optim/master-weights.js";
import { atMost, checkArguments } from "../../options.js";
import type { DType } from "../../tensor/dtype.js";
import { tensor } from "../../tensor/values.js";
import { outsideScopes, scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { allReduce } from "../collectives.js";
import { codesOfWeights } from "./flat-codes.js";
import type { Member } from "./flat-parameters.js";
import { floating, type Settings } from "./options.js";
import { mapTensorsIn, tensorsIn } from "./tensors-in.js";
import { Unit } from "./unit.js";
import { planUnits } from "./units.js";

/** How many units' gradients may be on their way at once. */
const IN_FLIGHT = 2;

/**
 * A module whose parameters, gradients or optimizer state are shared out over the ranks. Made by {@link fullyShard}.
 *
 * Every rank calls the same modules in the same order; which parameters get gradients may differ.
 */
export class FullyShardedModule {
  /** @internal The root first. */
  readonly units: readonly Unit[];
  /** @internal */
  readonly settings: Settings;
  readonly module: Module;
  #sync = true;
  /** Within a method of the root. */
  #depth = 0;
  #inBackward = false;
  /** Counts them. */
  #backwards = 0;
  #unwrapped = false;
  /** Who looks at the gradients of a rehearsal. */
  #look: ((name: string, gradient: Tensor) => void) | null = null;
  /** For a while, in place of the policy's. */
  #gatherDtype: DType | null = null;
  /** Units in the order of the last forward, and of the one that runs. */
  #order: readonly Unit[] = [];
  #called: Unit[] = [];
  #backwardAt = 0;
  readonly #flying: Unit[] = [];
  readonly #restore: (() => void)[] = [];

  /** @internal */
  constructor(module: Module, settings: Settings) {
    this.module = module;
    this.settings = settings;
    const codes = settings.stage === 3 ? codesOfWeights(module) : new Map<Tensor, WeightCodes>();
    this.units = planUnits(module, settings.shardModules, settings.stage)
      .filter(({ parameters }, i) => i === 0 || parameters.length > 0)
      .map((plan) => new Unit(plan, settings, codes));
    this.#measureCodes();
    for (const unit of this.units) this.#hook(unit, "forward");
    for (const name of settings.forwardMethods) this.#hook(this.#root, name);
  }
  get #root(): Unit {
    return this.units[0] as Unit;
  }
  get #shardsParameters(): boolean {
    return this.settings.stage === 3;
  }

  /** @internal Every parameter with its part. */
  *members(): IterableIterator<Member> {
    for (const unit of this.units) for (const flat of unit.flats) yield* flat.members;
  }

  /**
   * Whether gradients of backwards from here on are complete: false within an accumulation window, whose last batch is
   * the one that they are averaged in. With `reduceEveryBatch` every batch averages its own, and this changes nothing.
   */
  setRequiresGradientSync(on: boolean): void {
    this.#sync = on;
  }

  /**
   * Run `fn`, whose backwards average nothing and leave no gradients: each gradient of this rank's own batch is shown to
   * `look`, whole, when it is there, and forgotten. Those of a window stay. Every rank calls it: parameters are gathered.
   */
  rehearse<T>(fn: () => T, look: (name: string, gradient: Tensor) => void): T {
    const before = this.#look;
    this.#look = look;
    try {
      return fn();
    } finally {
      this.#look = before;
    }
  }

  // ------------------------------------------------------------------ forward

  #hook(unit: Unit, name: string): void {
    const { module } = unit;
    const original: unknown = Reflect.get(module, name);
    if (typeof original !== "function") {
      if (name === "forward") return; // a list of modules
      throw new ArgumentError("fullyShard", "forwardMethods to be names of the module's methods", name);
    }
    const own = Object.getOwnPropertyDescriptor(module, name);
    const method = original as (...args: unknown[]) => unknown;
    // Who wrapped it once more still calls it when sharding is over.
    const value = (...args: unknown[]): unknown =>
      this.#unwrapped ? Reflect.apply(method, module, args) : this.#forward(unit, method, args, name);
    Object.defineProperty(module, name, { value, writable: true, configurable: true, enumerable: false });
    this.#restore.push(() => {
      // Somebody else may have taken it off, or wrapped it again.
      if (Reflect.get(module, name) !== value) return;
      if (own === undefined) Reflect.deleteProperty(module, name);
      else Object.defineProperty(module, name, own);
    });
  }

  #forward(unit: Unit, method: (...args: unknown[]) => unknown, args: unknown[], name: string): unknown {
    const root = unit === this.#root;
    if (root && this.#depth === 0) this.#begin();
    if (root) this.#depth++;
    else this.#called.push(unit);
    try {
      unit.gather();
      if (!root) this.#prefetch(this.#order, this.#called.length);
      const inputs = name === "forward" ? this.#inputs(unit, args) : args;
      const output = this.#outputs(unit, Reflect.apply(method, unit.module, inputs));
      return output;
    } finally {
      if (root) this.#depth--;
      this.#afterForward(unit, root);
    }
  }
  #begin(): void {
    if (this.#called.length > 0) this.#order = this.#called;
    this.#called = [];
    if (this.#inBackward) this.#abandonBackward();
  }
  /** Begin to gather the unit that comes next, if what ran last time says which. */
  #prefetch(order: readonly Unit[], at: number): void {
    if (!this.#shardsParameters || order[at - 1] !== this.#called[at - 1]) return;
    order[at]?.beginGather();
  }
  #afterForward(unit: Unit, root: boolean): void {
    if (!this.#shardsParameters || this.#inBackward) return;
    const backwardFollows = isGradEnabled();
    if (root) {
      if (this.#depth === 0 && !backwardFollows) this.#reshardAll();
      return;
    }
    // The last one is the first that backward needs.
    const last = this.#order.length === this.#called.length && this.#order.at(-1) === unit;
    if (!backwardFollows || (this.settings.reshardAfterForward && !last)) unit.reshard();
  }
  #reshardAll(): void {
    for (const unit of this.units) unit.reshard();
  }

  /** Arguments as nodes of this call's own: when one's gradient is there, those of the unit's parameters are. */
  #inputs(unit: Unit, args: unknown[]): unknown[] {
    const { paramDtype, castForwardInputs } = this.settings.policy;
    const cast = castForwardInputs && paramDtype !== null ? (this.#gatherDtype ?? paramDtype) : null;
    // A unit without any gradient is freed when its backward is over, as others are.
    const waits = unit.gradients.length > 0 || this.#shardsParameters;
    const hooked = isGradEnabled() && unit !== this.#root && waits;
    if (!hooked && cast === null) return args;
    // Once in a backward, however many arguments have gradients: each time is a message.
    let doneIn = -1;
    const whenDone = (): void => {
      if (doneIn === this.#backwards) return;
      doneIn = this.#backwards;
      this.#afterBackwardOf(unit);
    };
    return args.map((arg) =>
      mapTensorsIn(arg, (t) => {
        let next = t;
        if (hooked && t.requiresGrad) {
          next = alias(t);
          onBackward(next, whenDone);
        }
        return cast !== null && next.isFloatingPoint() ? next.to(cast) : next;
      }),
    );
  }
  #outputs(unit: Unit, output: unknown): unknown {
    const cast = unit === this.#root ? this.settings.policy.outputDtype : null;
    const result = cast === null ? output : mapTensorsIn(output, (t) => (t.isFloatingPoint() ? t.to(cast) : t));
    if (isGradEnabled()) {
      let begun = false;
      for (const t of tensorsIn(result))
        if (t.requiresGrad && !t.isLeaf)
          onBackward(t, () => {
            if (begun) return;
            begun = true;
            this.#beforeBackwardOf(unit);
          });
    }
    return result;
  }

  // ------------------------------------------------------------------ backward

  /**
   * A backward from `loss` follows, which no forward of the module returned: one within a method of it, say. Others are
   * noticed by themselves.
   */
  beforeBackward(loss: Tensor): void {
    if (loss.requiresGrad && !loss.isLeaf)
      onBackward(loss, () => {
        this.#beforeBackwardOf(this.#root);
      });
  }
  #beforeBackwardOf(unit: Unit): void {
    if (!this.#inBackward) {
      this.#inBackward = true;
      this.#backwards++;
      this.#backwardAt = this.#called.length;
      for (const u of this.units) u.reduced = false;
      native.whenBackwardEnds(() => {
        this.#endBackward();
      });
    }
    if (!this.#shardsParameters) return;
    // A part of the model that runs in units of its own may use the root's parameters too.
    if (!this.#root.whole) this.#root.gather();
    unit.gather();
    const at = this.#called.lastIndexOf(unit, this.#backwardAt - 1);
    if (at === -1) return;
    this.#backwardAt = at;
    this.#called[at - 1]?.beginGather();
  }
  #afterBackwardOf(unit: Unit): void {
    if (this.#look !== null) {
      unit.showGradients(this.#look);
      return unit.reshard();
    }
    const last = this.#averages;
    unit.takeGradients(last);
    if (last) {
      this.#flying.push(unit);
      unit.beginReduce();
      while (this.#flying.length > IN_FLIGHT) this.#flying.shift()?.waitReduce();
    }
    unit.reshard();
  }
  get #averages(): boolean {
    return this.#sync || this.settings.reduceEveryBatch;
  }

  #endBackward(): void {
    this.#inBackward = false;
    scope(() => {
      this.#checkFrozen();
      this.#checkWhole();
      const look = this.#look;
      if (look !== null) {
        for (const unit of this.units) unit.showGradients(look);
        return;
      }
      const again = this.units.map((unit) => unit.reduced && unit.hasGradients);
      for (const unit of this.units) unit.takeGradients(this.#averages);
      if (this.#averages) this.#finishGradients(again);
    });
    if (this.#shardsParameters)
      for (const unit of this.units) if (unit !== this.#root || this.#depth === 0) unit.reshard();
  }
  #finishGradients(again: boolean[]): void {
    while (this.#flying.length > 0) this.#flying.shift()?.waitReduce();
    const used = this.units.map((unit) => unit.gradients.map((g) => [...g.used]));
    const agreed = this.#agree([...again, ...used.flat(2)]);
    this.units.forEach((unit, i) => {
      if (unit.reduced && agreed[i] !== true) return;
      unit.beginReduce();
      unit.waitReduce();
    });
    let at = this.units.length;
    for (const unit of this.units)
      for (const g of unit.gradients) {
        const n = g.used.length;
        g.deliver(agreed.slice(at, at + n));
        at += n;
      }
  }
  /** What holds on any rank. */
  #agree(flags: readonly boolean[]): readonly boolean[] {
    if (!this.settings.findUnusedParameters) return flags.map((flag, i) => (i < this.units.length ? flag : true));
    return scope(() => {
      const votes = tensor(flags.map(Number), { dtype: "uint8" });
      allReduce(votes, { op: "max", group: this.settings.group });
      return [...(votes.toTypedArray() as Uint8Array)].map((n) => n !== 0);
    });
  }
  /** Backward found its way to a unit past what the unit returned. */
  #checkWhole(): void {
    if (!this.#shardsParameters) return;
    for (const unit of this.units)
      if (!unit.whole && unit.hasGradients)
        throw new NbitError(
          `fullyShard: expected backward to reach unit "${unit.name}" by what its forward returned. Received: gradients by another way, while its parameters were freed. Return what the loss is computed from, in arrays, Maps or plain objects, or pass reshardAfterForward: false.`,
          "ERR_DIST_FREED_PARAMETER",
        );
  }
  /** The latest backward failed: what it left belongs to nobody. */
  #abandonBackward(): void {
    this.#inBackward = false;
    this.#flying.length = 0;
    for (const unit of this.units) {
      for (const g of unit.gradients) g.clear();
      unit.reshard();
    }
  }
  #checkFrozen(): void {
    for (const unit of this.units)
      for (const flat of unit.flats)
        if (!flat.trained)
          for (const { parameter, name } of flat.members)
            if (parameter.grad !== null)
              throw new NbitError(
                `fullyShard: expected parameters to require gradients, or not, as they did when they were sharded. Received: a gradient of ${name}, which did not. Set requiresGrad before.`,
                "ERR_DIST_FROZEN",
              );
  }

  // ------------------------------------------------------------------ steps, and parameters as a whole

  /** @internal An optimizer of shards is about to step. */
  beforeStep(): void {
    if (this.#unwrapped)
      throw new NbitError(
        "step: expected an optimizer of the module's parameters. Received: one that steps shards, of a module that is not shared out any more. Make a new one.",
        "ERR_DIST_NOT_SHARDED",
      );
    if (this.#depth === 0) this.#reshardAll();
    else for (const unit of this.units) if (unit !== this.#root) unit.reshard();
  }
  /** @internal Shards were written: parameters that are there whole follow. */
  refresh(): void {
    if (!this.#shardsParameters) {
      for (const unit of this.units) for (const flat of unit.flats) flat.beginPublish();
      for (const unit of this.units) for (const flat of unit.flats) flat.endPublish();
      return;
    }
    this.#measureCodes();
    if (!this.#root.whole) return;
    this.#root.reshard();
    this.#root.gather();
  }
  /** The largest magnitude of every weight that is gathered in codes, over all ranks: one message. */
  #measureCodes(): void {
    const all = this.units.flatMap((unit) => unit.flats.map((flat) => noGrad(() => flat.measured)));
    const weights = all.flatMap((measured) => measured.weights);
    if (weights.length === 0) return;
    const { group, device } = this.settings;
    noGrad(() =>
      scope(() => {
        const amaxes = all.flatMap((measured) => measured.amaxes.map((amax) => amax.to({ device })));
        // Numbers ≥ 0 order as their bits, and NaN without its sign is above them.
        const bits = stack(amaxes).view("int32").bitwiseAnd(0x7fffffff);
        allReduce(bits, { op: "max", group });
        weights.forEach((codes, i) => {
          codes.setAmax(bits.view("float32").select(0, i));
        });
      }),
    );
  }

  /**
   * Gather all parameters now: until {@link reshard}, or until they are used and freed. Weights that travel in codes are
   * there in codes: to read them, see `summonFullParams`.
   */
  unshard(): void {
    for (const unit of this.units) unit.beginGather();
    for (const unit of this.units) unit.gather();
  }
  /** Free what is not this rank's. */
  reshard(): void {
    this.#reshardAll();
  }

  /**
   * Gather parameters of floating point in another dtype from here on, such as for validation; null: as the policy says.
   * Shards stay as they are. Stages 1 and 2 hold both until then, and gather at once: a collective.
   * @throws {NbitError} ERR_DIST_SUMMON within a backward.
   */
  gatherIn(dtype: DType | null): void {
    atMost("gatherIn", arguments, 1);
    checkArguments("gatherIn", { dtype }, { dtype: orNull(floating) });
    if (this.#inBackward)
      throw new NbitError("gatherIn: expected to be called outside of backward.", "ERR_DIST_SUMMON");
    this.#gatherDtype = dtype;
    for (const unit of this.units) for (const flat of unit.flats) flat.gatherIn(dtype);
  }

  /** @internal `fn` with whole parameters. `writeback`: what it writes to them stays. */
  summon<T>(fn: () => T, writeback: boolean): T {
    if (this.#inBackward)
      throw new NbitError("summonFullParams: expected to be called outside of backward.", "ERR_DIST_SUMMON");
    const before = this.units.map((unit) => unit.whole);
    const flats = this.units.flatMap((unit) => unit.flats);
    for (const flat of flats) flat.setReadable(true);
    this.unshard();
    try {
      return fn();
    } finally {
      if (writeback) {
        for (const flat of flats) flat.writeBack();
        this.#measureCodes();
      }
      for (const flat of flats) flat.setReadable(false);
      this.units.forEach((unit, i) => {
        if (before[i] === true) unit.gather();
        else unit.reshard();
      });
    }
  }

  /**
   * Take the hooks off, and leave parameters whole, in their own dtype, on every rank. Optimizers keep their shards: make
   * new ones.
   */
  unwrap(): void {
    this.#unwrapped = true;
    this.gatherIn(null);
    for (const restore of this.#restore.splice(0)) restore();
    for (const unit of this.units)
      for (const flat of unit.flats) {
        const all = outsideScopes(() => flat.wholeCopy());
        flat.releaseCodes();
        outsideScopes(() =>
          noGrad(() => {
            for (const { parameter, offset, numel, shape } of flat.members) {
              parameter.setData(all.narrow(0, offset, numel).view([...shape]));
              setShard(parameter, null);
            }
          }),
        );
      }
  }
}

/** `fn` when the gradient of `t` is there. It goes at once: a device's memory is not what the collector looks at. */
function onBackward(t: Tensor, fn: () => void): void {
  t.registerHook((gradient) => {
    gradient.dispose();
    fn();
  });
}
