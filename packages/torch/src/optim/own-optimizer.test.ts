import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, nn, noGrad, ones, optim, scope, tensor, zerosLike, type Tensor } from "../index.js";

/** As one would write it for PyTorch: a constructor with defaults, and `step`. */
class Momentum extends optim.Optimizer {
  constructor(params: optim.ParamsLike, lr = 0.1, beta = 0.5) {
    super(params, { lr, beta });
  }
  override step(closure?: () => Tensor): Tensor | null {
    const loss = closure === undefined ? null : closure();
    noGrad(() => {
      for (const group of this.paramGroups)
        for (const p of group.params) {
          if (p.grad === null) continue;
          const state = this.state.get(p) ?? { buf: zerosLike(p) };
          this.state.set(p, state);
          (state["buf"] as Tensor).mul_(group["beta"] as number).add_(p.grad);
          p.add_(state["buf"] as Tensor, { alpha: -group.lr });
        }
    });
    return loss;
  }
}
const weight = (value = 1): nn.Parameter => new nn.Parameter(tensor([value]));

test("a class of one's own overrides step alone: groups, hooks, state that outlives scopes, state dicts", () => {
  const [p, q] = [weight(), weight(2)];
  const optimizer = new Momentum([p]);
  optimizer.addParamGroup({ params: q, lr: 1 });
  const seen: string[] = [];
  optimizer.registerStepPreHook(() => seen.push("before"));
  optimizer.registerStepPostHook(() => seen.push("after"));
  const loss = (): Tensor => {
    optimizer.zeroGrad();
    const made = p.mul(p).add(q).sum();
    made.backward();
    return made;
  };
  for (let i = 0; i < 3; i++) scope(() => assert.equal((optimizer.step(loss) as Tensor).numel(), 1));
  assert.deepEqual(seen, ["before", "after", "before", "after", "before", "after"]);
  assert.ok(Math.abs(p.item() - (0.8 * 1 - 0.26 - 0.1 * (0.5 * 2.6 + 2 * 0.54))) < 1e-6, String(p.item()));
  const again = new Momentum([{ params: [weight(p.item())] }, { params: [weight(q.item())], lr: 1 }]);
  again.loadStateDict(optimizer.stateDict());
  assert.equal((again.state.get(again.paramGroups[0]?.params[0] as Tensor)?.["buf"] as Tensor).numel(), 1);
  assert.equal(again.paramGroups[1]?.lr, 1);
});

test("a step that calls the one that it overrides has hooks around both together", () => {
  class Counting extends optim.SGD {
    calls = 0;
    override step(closure?: () => Tensor): Tensor | null {
      this.calls++;
      return super.step(closure);
    }
  }
  const p = weight();
  const optimizer = new Counting([p], 0.5);
  let hooks = 0;
  optimizer.registerStepPostHook(() => hooks++);
  p.grad = ones([1]);
  optimizer.step();
  assert.deepEqual([optimizer.calls, hooks, p.item()], [1, 1, 0.5]);
});

test("one that overrides nothing says so at its first step", () => {
  class Nothing extends optim.Optimizer {}
  const p = weight();
  const optimizer = new Nothing([p], { lr: 1 });
  optimizer.step(); // no gradient
  p.grad = ones([1]);
  assert.throws(() => optimizer.step(), { code: "OPTIMIZER_STEP" });
});

test("hooks of one and of all: their order, other closures, removal", () => {
  const p = weight();
  const optimizer = new optim.SGD([p], 1);
  const seen: unknown[] = [];
  const handles = [
    optimizer.registerStepPreHook((o, args, options) => void seen.push(["own pre", o === optimizer, args, options])),
    optim.registerOptimizerStepPreHook(() => void seen.push("pre of all")),
    optimizer.registerStepPostHook(() => void seen.push("own post")),
    optim.registerOptimizerStepPostHook(() => void seen.push("post of all")),
  ];
  optimizer.step();
  assert.deepEqual(seen, ["pre of all", ["own pre", true, [], {}], "own post", "post of all"]);
  handles.forEach((handle) => handle.remove());
  seen.length = 0;
  optimizer.step();
  assert.deepEqual(seen, []);
  const closure = (): Tensor => p.mul(2).sum();
  const swap = optimizer.registerStepPreHook(() => [[closure], {}]);
  assert.equal(optimizer.step()?.item(), 2);
  swap.remove();
  const wrong = optimizer.registerStepPreHook(() => [1]);
  assert.throws(() => optimizer.step(), ArgumentError);
  wrong.remove();
  assert.equal(optimizer.step({ closure })?.item(), 2);
  assert.throws(() => optimizer.step({ clojure: closure } as never), ArgumentError);
  assert.throws(() => optimizer.registerStepPreHook(3 as never), ArgumentError);
});

test("hooks of state dicts see and replace them, in their order", () => {
  const p = weight();
  const optimizer = new optim.SGD([p], 1, 0.9);
  const seen: string[] = [];
  optimizer.registerStateDictPreHook(() => seen.push("pre"));
  optimizer.registerStateDictPostHook((_, dict) => ({ ...dict, extra: 1 }));
  optimizer.registerStateDictPostHook(() => void seen.push("first"), { prepend: true });
  const dict = optimizer.stateDict() as optim.OptimizerState & { readonly extra?: number };
  assert.deepEqual([seen, dict.extra], [["pre", "first"], 1]);
  optimizer.registerLoadStateDictPreHook((_, given) => {
    const groups = given["paramGroups"] as readonly object[];
    return { ...given, paramGroups: groups.map((g) => ({ ...g, lr: 0.25 })) };
  });
  optimizer.registerLoadStateDictPostHook(() => seen.push("loaded"), true);
  optimizer.loadStateDict(dict);
  assert.equal(optimizer.paramGroups[0]?.lr, 0.25);
  assert.equal(seen.at(-1), "loaded");
  assert.throws(() => optimizer.registerStateDictPostHook(() => null, { before: true } as never), ArgumentError);
});

test("parameters with names, as namedParameters gives them", () => {
  const model = new nn.Linear(2, 1);
  const optimizer = new optim.Adam(model.namedParameters(), 0.1);
  assert.deepEqual(optimizer.paramGroups[0]?.paramNames, ["weight", "bias"]);
  assert.deepEqual(
    optim.toTorch(optimizer.stateDict()).param_groups.map((g) => Reflect.get(g as object, "param_names")),
    [["weight", "bias"]],
  );
  assert.throws(() => optimizer.addParamGroup({ params: [weight()] }), ArgumentError);
  assert.throws(() => new optim.SGD([["a", weight()], weight()] as never), ArgumentError);
});
