/** Backward hooks of modules: two nodes of the graph, one at what goes in and one at what comes out. */
import { AutogradFunction, type FunctionContext } from "../autograd/function.js";
import { isGradEnabled } from "../autograd/modes.js";
import { ArgumentError, NbitError } from "../errors.js";
import { isTensor } from "../tensor/handle.js";
import { keep } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";

/** Gradients by argument; null where an argument is no tensor, or needs none. */
export type Gradients = readonly (Tensor | null)[];
export type Replaced = Gradients | Tensor | null | undefined | void;

interface Node {
  backward(gradients: Gradients): Gradients;
}
/** Hands its tensors on, and their gradients to a node. */
class Passage extends AutogradFunction {
  static forward(ctx: FunctionContext, node: Node, ...tensors: readonly Tensor[]): Tensor[] {
    ctx.values["node"] = node;
    ctx.setMaterializeGrads(false);
    return tensors.map((t) => t.viewAs(t));
  }
  static backward(ctx: FunctionContext, ...grads: Tensor[]): (Tensor | null)[] {
    const node = ctx.values["node"] as Node;
    return [null, ...node.backward(grads.map((g, i) => (ctx.needsInputGrad[i + 1] === true ? g : null)))];
  }
}

type Hook = (gradInput: Gradients, gradOutput: Gradients) => Replaced;
type PreHook = (gradOutput: Gradients) => Replaced;

/** What one call of a module has between its inputs and its outputs. */
export class BackwardHooks {
  readonly #fn: string;
  readonly #hooks: readonly Hook[];
  readonly #preHooks: readonly PreHook[];
  /** Which arguments are tensors; null: none of them needs a gradient. */
  #inputs: readonly number[] | null = null;
  #inputCount = 0;
  #gradOutput: Gradients | null = null;

  constructor(fn: string, hooks: readonly Hook[], preHooks: readonly PreHook[]) {
    this.#fn = fn;
    this.#hooks = hooks;
    this.#preHooks = preHooks;
  }

  /** The arguments of forward, those that are tensors behind a node of their own. */
  inputs(args: readonly unknown[]): readonly unknown[] {
    // The graph holds what a node refers to: numbers, never the tensors, which hold the graph.
    const count = args.length;
    this.#inputCount = count;
    const passed = pass(args, (positions) => ({
      backward: (grads) => {
        const gradOutput = this.#gradOutput;
        // Gradients that did not come through the outputs, as in a second backward.
        if (gradOutput === null) return grads;
        this.#gradOutput = null;
        let all: Gradients = spread(kept(grads), positions, count);
        for (const hook of this.#hooks) all = this.#replaced("a hook", hook(all, gradOutput), all);
        return positions.map((p) => all[p] ?? null);
      },
    }));
    if (passed === null) return args;
    this.#inputs = passed.positions;
    return passed.values;
  }

  /** What forward returned, its tensors behind a node. Arrays are looked into, other structures are not. */
  outputs(output: unknown): unknown {
    const single = !Array.isArray(output);
    const list: readonly unknown[] = single ? [output] : output;
    const count = list.length;
    const passed = pass(list, (positions) => ({
      backward: (grads) => {
        let all: Gradients = spread(kept(grads), positions, count);
        for (const hook of this.#preHooks) all = this.#replaced("a pre-hook", hook(all), all);
        if (this.#inputs !== null) this.#gradOutput = kept(all);
        else this.#withoutInputs(all);
        return positions.map((p) => all[p] ?? null);
      },
    }));
    if (passed === null) return output;
    return single ? passed.values[0] : passed.values;
  }

  #withoutInputs(gradOutput: Gradients): void {
    const none: Gradients = new Array<null>(this.#inputCount).fill(null);
    for (const hook of this.#hooks) {
      const all = this.#replaced("a hook", hook(none, gradOutput), none);
      if (all.some((g) => g !== null))
        throw new NbitError(
          `${this.#fn}: expected a hook that replaces no gradient, since no input needs one. Received: a gradient.`,
          "BACKWARD_HOOK",
        );
    }
  }

  #replaced(what: string, given: Replaced, before: Gradients): Gradients {
    if (given === null || given === undefined) return before;
    const list: readonly unknown[] = isTensor(given) ? [given] : given;
    if (!Array.isArray(list) || list.length !== before.length || list.some((g) => g !== null && !isTensor(g)))
      throw new ArgumentError(
        this.#fn,
        `${what} to return nothing, or ${before.length} gradients, each a tensor or null`,
        given,
      );
    return list as Gradients;
  }
}

/** Hooks may keep what they are given; backward's scope does not end it. */
function kept(grads: Gradients): Gradients {
  for (const g of grads) if (g !== null) keep(g);
  return grads;
}
function spread(grads: Gradients, positions: readonly number[], length: number): Gradients {
  const all = new Array<Tensor | null>(length).fill(null);
  positions.forEach((p, i) => (all[p] = grads[i] ?? null));
  return all;
}

/** The list with its tensors behind one node; null: none of them needs a gradient. */
function pass(
  list: readonly unknown[],
  nodeOf: (positions: readonly number[]) => Node,
): { readonly values: readonly unknown[]; readonly positions: readonly number[] } | null {
  if (!isGradEnabled()) return null;
  const positions: number[] = [];
  const tensors: Tensor[] = [];
  let needed = false;
  list.forEach((value, i) => {
    if (!isTensor(value)) return;
    positions.push(i);
    tensors.push(value);
    needed ||= value.requiresGrad;
  });
  if (!needed) return null;
  const passed = Passage.apply(nodeOf(positions), ...tensors);
  const values = [...list];
  positions.forEach((p, i) => (values[p] = passed[i]));
  return { values, positions };
}
