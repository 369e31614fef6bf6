/** Float32 masters of 16-bit parameters: what the optimizers step, and what is saved. */
import { NbitError, nn, noGrad, operators, optim, outsideScopes, type Tensor } from "@nbit/torch";
import { MISUSE } from "./misuse.js";
import { Pair, type Scaled } from "./pairs.js";

const copy_ = operators("aten")["_foreach_copy_"];
const is16Bit = (t: Tensor): boolean => t.dtype === "float16" || t.dtype === "bfloat16";

/** Values of parameters from before they were cast. */
interface Values {
  get(parameter: Tensor): Tensor | undefined;
}

/** The parameters of some models and optimizers: one master each, whoever shares it, and one gradient. */
export class MasterWeights {
  readonly #useMasters: boolean;
  readonly #pairs = new Map<Tensor, Pair>();
  /** By optimizer, in its order. */
  readonly #of = new Map<optim.Optimizer, Pair[]>();

  constructor(useMasters: boolean) {
    this.#useMasters = useMasters;
  }

  /**
   * Put masters in the place of a group's 16-bit parameters.
   * @param originals - The float32 values of parameters before they were cast: masters begin exactly there.
   */
  adopt(optimizer: optim.Optimizer, group: { params: Tensor[] }, originals: Values): void {
    const list = this.#of.get(optimizer) ?? [];
    this.#of.set(optimizer, list);
    group.params = group.params.map((p) => {
      let pair = this.#pairs.get(p);
      if (pair === undefined || (pair.master === p && this.#useMasters && is16Bit(p))) {
        pair = new Pair(p, this.#masterOf(p, originals));
        this.#pairs.set(p, pair);
      }
      list.push(pair);
      return pair.master;
    });
  }
  #masterOf(p: Tensor, originals: Values): Tensor {
    if (!this.#useMasters || !is16Bit(p)) return p;
    const master = outsideScopes(
      () =>
        new nn.Parameter(originals.get(p) ?? p.detach().to({ dtype: "float32", copy: true }), {
          requiresGrad: p.requiresGrad,
        }),
    );
    optim.setMaster(master, p);
    return master;
  }
  /** Parameters that no optimizer has: backwards of scaled losses reach them too. */
  adoptFree(parameters: Iterable<Tensor>): void {
    for (const p of parameters)
      if ((p.isFloatingPoint() || p.isComplex()) && !this.#pairs.has(p)) this.#pairs.set(p, new Pair(p, p));
  }

  /** Gradients of a parameter that was put into a group by hand would be stepped with as they are scaled. */
  requireOwn(optimizer: optim.Optimizer): void {
    const own = new Set(this.pairsOf(optimizer).map(({ master }) => master));
    for (const group of optimizer.paramGroups)
      for (const p of group.params)
        if (!own.has(p))
          throw new NbitError(
            `apex: expected the parameters that initialize and addParamGroup were given. Received: another one in a group of ${optimizer.constructor.name}. Exchange parameters before initialize, or add them with addParamGroup.`,
            MISUSE,
          );
  }

  has(optimizer: optim.Optimizer): boolean {
    return this.#of.has(optimizer);
  }
  get optimizers(): readonly optim.Optimizer[] {
    return [...this.#of.keys()];
  }
  /** [model's parameter, its master], in the optimizer's order; float32 parameters stand for themselves. */
  pairsOf(optimizer: optim.Optimizer): readonly Pair[] {
    return this.#of.get(optimizer) ?? [];
  }
  /** All that have a master of their own. */
  get withMaster(): readonly Pair[] {
    return [...this.#pairs.values()].filter(({ parameter, master }) => parameter !== master);
  }

  /** Of one of the models' parameters, the unscaled gradient. */
  gradientOf(parameter: Tensor): Tensor | null {
    const pair = this.#pairs.get(parameter);
    pair?.sync();
    return (pair?.master ?? parameter).grad;
  }
  setGradient(parameter: Tensor, gradient: Tensor | null): void {
    const pair = this.#pairs.get(parameter);
    const { master } = pair ?? { master: parameter };
    pair?.clear();
    master.grad = gradient === null ? null : gradient.to({ device: master.device, dtype: master.dtype, copy: true });
    pair?.sync();
  }

  /** Put the parameters back in their groups, in float32 and with the masters' exact values; state follows them. */
  restore(): void {
    for (const [optimizer, pairs] of this.#of) {
      const parameterOf = new Map(pairs.map(({ parameter, master }) => [master, parameter]));
      for (const group of optimizer.paramGroups) group.params = group.params.map((m) => parameterOf.get(m) ?? m);
      for (const { parameter, master } of pairs) {
        const state = parameter === master ? undefined : optimizer.state.get(master);
        if (state === undefined) continue;
        optimizer.state.delete(master);
        optimizer.state.set(parameter, state);
      }
    }
    for (const pair of this.withMaster) {
      pair.clear();
      outsideScopes(() => pair.parameter.setData(pair.master.detach()));
    }
  }

  /** What was done to gradients of the models, or of masters, by hand. */
  sync(optimizer: optim.Optimizer): void {
    for (const pair of this.pairsOf(optimizer)) pair.sync();
  }

  /**
   * Before a scaled backward, which may reach any parameter: takes unscaled gradients out of the way. Those of
   * `optimizers` that an earlier, delayed backward of the same loss left scaled are added to.
   * @returns What ends it when it fails.
   */
  begin(optimizers: readonly optim.Optimizer[], scaled: Scaled): () => void {
    const named = new Set(optimizers.flatMap((o) => this.pairsOf(o)));
    for (const { scaled: before } of named) {
      if (before !== null && before.lossId !== scaled.lossId)
        throw new NbitError(
          `scaleLoss: expected lossId ${before.lossId}, whose gradients are still scaled. Received: lossId ${scaled.lossId}. Unscale each loss (delayUnscale: false) before the next.`,
          MISUSE,
        );
    }
    const begun: Pair[] = [];
    for (const pair of this.#pairs.values()) {
      if (pair.scaled !== null && !(named.has(pair) && pair.scaled.scale === scaled.scale)) pair.collect(true);
      if (pair.scaled !== null) continue;
      pair.begin(scaled);
      begun.push(pair);
    }
    return () => {
      for (const pair of begun) pair.abort();
    };
  }

  /**
   * Gradients that are scaled are unscaled and go to the masters, but for those of `but`. Returns whether one that is
   * new was not finite.
   */
  collect(check: boolean, but: readonly optim.Optimizer[] = []): boolean {
    const left = new Set(but.flatMap((o) => this.pairsOf(o)));
    let overflow = false;
    for (const pair of this.#pairs.values()) if (!left.has(pair)) overflow = pair.collect(check) || overflow;
    return overflow;
  }

  /** Forget an optimizer's gradients. */
  forget(optimizer: optim.Optimizer): void {
    for (const pair of this.pairsOf(optimizer)) pair.clear();
  }
  /** A step was made or skipped. */
  stepped(optimizer: optim.Optimizer): void {
    for (const pair of this.pairsOf(optimizer)) pair.spent = true;
  }
  /** Let the step of these be skipped: a loss of all of them overflowed. */
  markOverflow(optimizers: readonly optim.Optimizer[]): void {
    for (const o of optimizers)
      for (const pair of this.pairsOf(o)) if (pair.master.grad !== null) pair.overflowed = true;
  }
  overflowed(optimizer: optim.Optimizer): boolean {
    return this.pairsOf(optimizer).some((pair) => pair.overflowed);
  }
  scaled(optimizer: optim.Optimizer): boolean {
    return this.pairsOf(optimizer).some((pair) => pair.scaled !== null);
  }

  /** The stepped masters, rounded into the models; of all optimizers, or of one. */
  copyToModel(optimizer?: optim.Optimizer): void {
    const pairs =
      optimizer === undefined
        ? this.withMaster
        : this.pairsOf(optimizer).filter(({ parameter, master }) => parameter !== master);
    if (pairs.length === 0) return;
    noGrad(() => {
      copy_?.(
        pairs.map(({ parameter }) => parameter.detach()),
        pairs.map(({ master }) => master.detach()),
      );
    });
  }
}
