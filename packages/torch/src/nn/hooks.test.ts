import assert from "node:assert/strict";
import { test } from "node:test";
import { nn, ones, randn, scope, tensor, zeros, type Tensor } from "../index.js";

class Twice extends nn.Module {
  forward(x: Tensor, options: { readonly by?: number } = {}): Tensor {
    return x.mul(options.by ?? 2);
  }
}
class Named extends Twice {
  override forward(x: Tensor): Tensor {
    return super.forward(x).add(1);
  }
}

for (const way of ["forward", "call"] as const)
  test(`hooks are called by ${way}, in order, and may change what goes in and out`, () => {
    const module = new Named();
    const seen: string[] = [];
    const handles = [
      module.registerForwardPreHook((m, [x]) => {
        assert.equal(m, module);
        seen.push("pre");
        return [(x as Tensor).add(1)];
      }),
      module.registerForwardPreHook(
        (_, [x]) => {
          seen.push("first");
          return (x as Tensor).mul(10);
        },
        { prepend: true },
      ),
      module.registerForwardHook((_, [x], y) => {
        seen.push(`post ${(x as Tensor).item()}`);
        return (y as Tensor).neg();
      }),
    ];
    assert.equal(module[way](ones([])).item(), -23); // -((1 * 10 + 1) * 2 + 1)
    assert.deepEqual(seen, ["first", "pre", "post 11"]);
    for (const handle of handles) handle.remove();
    assert.equal(module[way](ones([])).item(), 3);
    assert.equal(Object.hasOwn(module, "forward"), false, "nothing is left of them");
    assert.equal(seen.length, 3);
  });

test("hooks of a layer are called once, however the model is called", () => {
  let calls = 0;
  const net = new nn.Sequential(new nn.Linear(2, 2), new nn.ReLU());
  (net[0] as nn.Linear).registerForwardHook(() => void calls++);
  const x = randn([1, 2]);
  for (const run of [() => net.forward(x), () => net.call(x), () => scope(() => net.call(x))]) run();
  assert.equal(calls, 3);
});

test("who wraps forward meanwhile keeps its wrapper, and hooks theirs", () => {
  const module = new Twice();
  let calls = 0;
  const handle = module.registerForwardHook(() => void calls++);
  const inner = module.forward;
  Object.defineProperty(module, "forward", {
    value: (x: Tensor) => inner(x).add(5),
    configurable: true,
    writable: true,
  });
  assert.equal(module.call(ones([])).item(), 7);
  assert.equal(calls, 1);
  handle.remove();
  assert.equal(module.forward(ones([])).item(), 7);
  assert.equal(calls, 1);
});

test("withKwargs and alwaysCall", () => {
  const module = new Twice();
  const seen: unknown[] = [];
  module.registerForwardPreHook((_, args, kwargs) => [args, { ...kwargs, by: 5 }], { withKwargs: true });
  module.registerForwardHook(
    (_, args, kwargs, output) => void seen.push(args.length, kwargs, (output as Tensor).item()),
    { withKwargs: true },
  );
  assert.equal(module.forward(ones([]), { by: 3 }).item(), 5);
  assert.deepEqual(seen, [1, { by: 5 }, 5]);
  class Failing extends nn.Module {
    forward(): void {
      throw new Error("no");
    }
  }
  const failing = new Failing();
  const always: unknown[] = [];
  failing.registerForwardHook((_, __, output) => void always.push(output), { alwaysCall: true });
  failing.registerForwardHook(() => assert.fail());
  assert.throws(() => failing.forward(), /no/);
  assert.deepEqual(always, [undefined]);
  assert.throws(() => Reflect.apply(module.registerForwardHook.bind(module), module, [3]), { code: "ERR_ARGUMENT" });
  assert.throws(() => Reflect.apply(module.registerForwardHook.bind(module), module, [() => 0, { first: true }]), {
    code: "ERR_ARGUMENT",
  });
});

test("full backward hooks see the gradients of inputs and outputs, and may replace them", () => {
  class Product extends nn.Module {
    forward(x: Tensor, y: Tensor, _flag: boolean): [Tensor, Tensor] {
      return [x.mul(y), x.add(y)];
    }
  }
  const module = new Product();
  const x = tensor([3], { requiresGrad: true });
  const y = tensor([4]);
  const seen: unknown[] = [];
  const list = (grads: readonly (Tensor | null)[]): unknown => grads.map((g) => g?.tolist() ?? null);
  module.registerFullBackwardHook((m, gradInput, gradOutput) => {
    assert.equal(m, module);
    seen.push(list(gradInput), list(gradOutput));
    return gradInput.map((g) => g?.mul(100) ?? null);
  });
  const pre = module.registerFullBackwardPreHook((_, gradOutput) => {
    seen.push(list(gradOutput));
    return [gradOutput[0]?.mul(2) ?? null, gradOutput[1] ?? null];
  });
  const [product, sum] = module.forward(x, y, true);
  product.mul(10).add(sum).backward();
  assert.deepEqual(seen, [
    [[10], [1]],
    [[81], null, null],
    [[20], [1]],
  ]);
  assert.deepEqual(x.grad?.tolist(), [8100]);
  pre.remove();
  seen.length = 0;
  module.forward(x, y, true)[0].backward();
  assert.deepEqual(seen, [
    [[4], null, null],
    [[1], null],
  ]);
});

test("what a backward hook keeps lives on", () => {
  const layer = new nn.Linear(2, 2);
  const kept: Tensor[] = [];
  layer.registerFullBackwardHook((_, [gradInput], [gradOutput]) => {
    if (gradInput) kept.push(gradInput);
    if (gradOutput) kept.push(gradOutput);
  });
  scope(() =>
    layer
      .call(zeros([1, 2]).requiresGrad_())
      .sum()
      .backward(),
  );
  assert.deepEqual(kept[1]?.tolist(), [[1, 1]]);
  assert.equal(kept[0]?.disposed, false);
});

test("without an input that needs a gradient the hook is called with those of the outputs; without any, not at all", () => {
  const layer = new nn.Linear(1, 1);
  const seen: unknown[] = [];
  const handle = layer.registerFullBackwardHook(
    (_, gradInput, gradOutput) => void seen.push([...gradInput], gradOutput[0]?.tolist()),
  );
  layer
    .forward(ones([1, 1]))
    .sum()
    .backward();
  assert.deepEqual(seen, [[null], [[1]]]);
  layer.requiresGrad_(false).forward(ones([1, 1]));
  assert.equal(seen.length, 2);
  handle.remove();
  layer.requiresGrad_(true).registerFullBackwardHook((_, [g]) => [g ?? ones([1])]);
  assert.throws(
    () =>
      layer
        .forward(ones([1, 1]))
        .sum()
        .backward(),
    /no input needs one/,
  );
  const other = new nn.Linear(1, 1);
  other.registerFullBackwardHook(() => [null, null] as never);
  assert.throws(
    () =>
      other
        .forward(ones([1, 1]).requiresGrad_())
        .sum()
        .backward(),
    /or 1 gradients/,
  );
});
