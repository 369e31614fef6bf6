/** Operators whose forward and backward are written in TypeScript. */
import { ArgumentError, NbitError, TensorDisposedError } from "../errors.js";
import { argBuffer, native, writeLists } from "../native.js";
import { atMost } from "../options.js";
import { elementsOf } from "../read-once.js";
import { handleOrZero, handlesOf, isTensor, wrap } from "../tensor/handle.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";

/**
 * What forward leaves for backward. Tensors go through {@link saveForBackward} only: a tensor held by a closure would
 * keep its whole graph alive.
 */
export class FunctionContext {
  /** Anything that is not a tensor. */
  readonly values: Record<string, unknown> = {};
  #saved: readonly (Tensor | null)[] = [];
  #inBackward = false;
  #needs: readonly boolean[] = [];
  /** @internal */ readonly notDifferentiable = new Set<Tensor>();
  /** @internal */ readonly dirty = new Set<Tensor>();
  /** @internal */ materialize = true;

  /** Inputs and outputs that backward needs. In-place changes of them are detected, as for built-in operators. */
  saveForBackward(...tensors: readonly (Tensor | null)[]): void {
    for (const t of tensors)
      if (t !== null && !isTensor(t)) throw new ArgumentError("saveForBackward", "tensors or null", t);
    this.#saved = tensors;
  }
  /** In backward: what {@link saveForBackward} was given. */
  get savedTensors(): readonly (Tensor | null)[] {
    if (!this.#inBackward)
      throw new NbitError(
        "savedTensors: expected to be read in backward. Received: a read in forward. Use the tensors themselves there.",
        "ERR_SAVED_TENSORS",
      );
    return this.#saved;
  }
  /** The i-th saved tensor; null was not saved there. */
  saved(i: number): Tensor {
    atMost("FunctionContext.saved", arguments, 1);
    const t = this.savedTensors[i];
    if (!t)
      throw new ArgumentError("saved", `an index of a tensor given to saveForBackward (${this.#saved.length})`, i);
    return t;
  }
  /** Which arguments of forward need a gradient, by position. */
  get needsInputGrad(): readonly boolean[] {
    return this.#needs;
  }
  /** Outputs that have no gradient, such as indices. */
  markNonDifferentiable(...outputs: readonly Tensor[]): void {
    for (const t of outputs) this.notDifferentiable.add(t);
  }
  /** Inputs that forward changed in place and returns. */
  markDirty(...inputs: readonly Tensor[]): void {
    for (const t of inputs) this.dirty.add(t);
  }
  /** Whether backward sees zeros (default) or null where an output got no gradient. */
  setMaterializeGrads(on: boolean): void {
    atMost("FunctionContext.setMaterializeGrads", arguments, 1);
    this.materialize = on;
  }

  /** @internal */
  takeSaved(): readonly (Tensor | null)[] {
    const saved = this.#saved;
    this.#saved = [];
    return saved;
  }
  /** @internal */
  setNeeds(needs: readonly boolean[]): void {
    this.#needs = needs;
  }
  /** @internal */
  runBackward<T>(saved: readonly (Tensor | null)[], run: () => T): T {
    this.#saved = saved;
    this.#inBackward = true;
    try {
      return run();
    } finally {
      this.#inBackward = false;
      this.#saved = [];
    }
  }
}

type Result = Tensor | readonly Tensor[];
type GradResult = Tensor | null | undefined | readonly (Tensor | null | undefined)[];

/** The static side of a function: two functions and a name. */
export interface AutogradFunctionClass<Args extends readonly unknown[], R extends Result> {
  readonly name: string;
  forward(ctx: FunctionContext, ...args: Args): R;
  backward(ctx: FunctionContext, ...grads: Tensor[]): GradResult;
}

/**
 * Base of operators with a backward of your own. Differentiable twice when backward uses differentiable operators.
 *
 * Forward runs without recording. Backward gets one gradient per output and returns one per argument of forward (null
 * or nothing for arguments that are not tensors or need none); it runs inside a scope. An exception in either leaves
 * the graph and the tensors intact and keeps its identity.
 *
 * @example
 * class Double extends AutogradFunction {
 *   static forward(ctx: FunctionContext, x: Tensor): Tensor { return x.mul(2); }
 *   static backward(ctx: FunctionContext, g: Tensor): Tensor { return g.mul(2); }
 * }
 * const y = Double.apply(x);
 */
export abstract class AutogradFunction {
  static apply<Args extends readonly unknown[], R extends Result>(
    this: AutogradFunctionClass<Args, R>,
    ...args: Args
  ): R {
    if (typeof (this.forward as unknown) !== "function")
      throw new ArgumentError(`${this.name}.apply`, "a subclass with static functions forward and backward", this);
    const ctx = new FunctionContext();
    const inputs: Tensor[] = [];
    const positions: number[] = [];
    args.forEach((a, i) => {
      if (!isTensor(a)) return;
      if (handleOrZero(a) === 0) throw new TensorDisposedError(this.name);
      inputs.push(a);
      positions.push(i);
    });
    ctx.setNeeds(args.map((a) => isTensor(a) && a.requiresGrad));
    const before = native.setGradEnabled(false);
    let result: R;
    try {
      result = this.forward(ctx, ...args);
    } finally {
      native.setGradEnabled(before);
    }
    const outputs: Tensor[] = isTensor(result)
      ? [result]
      : elementsOf(Array.isArray(result) ? (result as readonly Tensor[]) : [result as unknown as Tensor]);
    for (const t of outputs)
      if (!isTensor(t) || handleOrZero(t) === 0)
        throw new ArgumentError(`${this.name}.forward`, "a tensor or an array of tensors as the result", t);
    const attached = attach(this, ctx, inputs, positions, args.length, outputs);
    return (isTensor(result) ? attached[0] : attached) as R;
  }
}

function attach<Args extends readonly unknown[], R extends Result>(
  type: AutogradFunctionClass<Args, R>,
  ctx: FunctionContext,
  inputs: readonly Tensor[],
  positions: readonly number[],
  count: number,
  outputs: readonly Tensor[],
): Tensor[] {
  const saved = ctx.takeSaved();
  const present = saved.filter((t) => t !== null);
  const presence = saved.map((t) => t !== null);
  const { name } = type;
  // Flags of outputs: 1 differentiable, 2 changed in place. Of saved tensors: whether it is an output.
  const flags = outputs.map((t) => (ctx.notDifferentiable.has(t) ? 0 : 1) | (ctx.dirty.has(t) ? 2 : 0));
  const isOutput = present.map((t) => (outputs.includes(t) && !inputs.includes(t) ? 1 : 0));
  ctx.notDifferentiable.clear();
  const dirty = outputs.map((t) => ctx.dirty.has(t));
  ctx.dirty.clear();

  const lists = [
    handlesOf(name, "inputs", inputs),
    handlesOf(`${name}.forward`, "outputs", outputs),
    flags,
    handlesOf(name, "saved tensors", present),
    isOutput,
  ];
  writeLists(...lists);
  native.attachNode(backwardOf(type, ctx, positions, count, presence), `${name}Backward`, ctx.materialize === true);
  const handles = argBuffer.slice(0, outputs.length);
  return outputs.map((t, i) => {
    const handle = handles[i] as number;
    // In place: the input itself now stands behind the node.
    if (dirty[i] === true) {
      native.release(handle);
      return t;
    }
    return wrap(handle);
  });
}

/**
 * What the addon calls in backward. The graph holds it for as long as it lives, and so all variables of this function:
 * no tensor is among them, for one that holds the graph would never be collected.
 *
 * @param presence - Which of what forward saved are tensors.
 */
function backwardOf<Args extends readonly unknown[], R extends Result>(
  type: AutogradFunctionClass<Args, R>,
  ctx: FunctionContext,
  positions: readonly number[],
  count: number,
  presence: readonly boolean[],
): () => void {
  const { name } = type;
  return () => {
    let read = 1;
    const take = (): Float64Array => {
      const n = argBuffer[read] as number;
      const list = argBuffer.slice(read + 1, read + 1 + n);
      read += 1 + n;
      return list;
    };
    const [gradHandles, savedHandles, needed] = [take(), take(), take()];
    argBuffer[0] = 0; // all is read
    const tensorsOf = (handles: Float64Array): (Tensor | null)[] =>
      Array.from(handles, (h) => (h === 0 ? null : wrap(h)));
    scope(() => {
      const grads = tensorsOf(gradHandles);
      const values = tensorsOf(savedHandles);
      const byPosition = new Array<boolean>(count).fill(false);
      positions.forEach((p, i) => (byPosition[p] = needed[i] === 1));
      ctx.setNeeds(byPosition);
      let next = 0;
      const restored = presence.map((p) => (p ? (values[next++] ?? null) : null));
      const got = ctx.runBackward(restored, () => type.backward(ctx, ...(grads as Tensor[])));
      const list: readonly (Tensor | null | undefined)[] = Array.isArray(got)
        ? (got as readonly (Tensor | null | undefined)[])
        : [got as Tensor | null | undefined];
      const length = list.length;
      if (length > count)
        throw new ArgumentError(`${name}.backward`, `at most one gradient per argument of forward (${count})`, length);
      const results = positions.map((p) => {
        const g = list[p];
        if (g !== null && g !== undefined && !isTensor(g))
          throw new ArgumentError(`${name}.backward`, `gradient ${p} to be a tensor or null`, g);
        return g ?? null;
      });
      writeLists(handlesOf(`${name}.backward`, "gradients", results, true));
      native.returnGradients();
    });
  };
}
