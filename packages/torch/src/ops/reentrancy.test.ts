/**
 * Reading an argument may run a program of its own: getters, proxies, iterators. Whatever it does, the call around it
 * does what was asked, or is refused with a code.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { AutogradFunction, Complex, NbitError, type FunctionContext, type Tensor } from "../index.js";

/** Uses the addon in every way that writes into its buffer. */
function disturb(): void {
  torch.enableGrad(useEverything);
}
function useEverything(): void {
  const a = torch.ones([3]);
  a.add(1);
  torch.tensor([5]).item();
  a.unbind();
  void a.shape;
  torch.memory();
  assert.throws(() => a.add(torch.ones([4])));
  const x = torch.tensor([1, 2], { requiresGrad: true });
  x.mul(x).sum().backward();
  torch.grad(x.sum(), x);
  torch.tensorFromBytes(new Uint8Array(7), "uint8", [7]);
}

/** The same list, whose every element is read by a getter that disturbs. */
function watched<T>(list: readonly T[]): T[] {
  const copy: T[] = new Array<T>(list.length);
  list.forEach((value, i) => {
    Object.defineProperty(copy, i, { enumerable: true, get: () => (disturb(), value) });
  });
  return copy;
}
function proxied<T extends object>(target: T): T {
  return new Proxy(target, {
    get(of, key, receiver): unknown {
      disturb();
      return Reflect.get(of, key, receiver);
    },
  });
}
/** An array whose iteration lies and disturbs. */
class Odd<T> extends Array<T> {
  override *[Symbol.iterator](): ArrayIterator<T> {
    disturb();
    yield* [];
  }
  static override get [Symbol.species](): ArrayConstructor {
    disturb();
    return Array;
  }
}
const odd = <T>(list: readonly T[]): T[] => {
  const made = new Odd<T>();
  for (const e of list) made.push(e);
  return made;
};
const lists: Readonly<Record<string, <T>(list: readonly T[]) => T[]>> = {
  watched,
  proxied: (list) => proxied([...list]),
  odd,
};

/** The same options, each read by a getter that disturbs. */
function watchedOptions<T extends object>(options: T): T {
  const copy = {};
  for (const [name, value] of Object.entries(options))
    Object.defineProperty(copy, name, { enumerable: true, get: () => (disturb(), value as unknown) });
  return copy as T;
}
const optionBags: Readonly<Record<string, <T extends object>(options: T) => T>> = { watched: watchedOptions, proxied };

const leaf = (): Tensor => torch.tensor([1, 2], { requiresGrad: true });

for (const [how, list] of Object.entries(lists)) {
  test(`lists, ${how}: the call is as asked`, () => {
    torch.scope(() => {
      const x = torch.arange(6).view([2, 3]);
      assert.deepEqual(torch.zeros(list([2, 3])).shape, [2, 3]);
      assert.deepEqual(x.view(list([3, 2])).tolist(), [
        [0, 1],
        [2, 3],
        [4, 5],
      ]);
      assert.deepEqual(x.permute(list([1, 0])).shape, [3, 2]);
      assert.deepEqual(
        x
          .double()
          .sum(list([0, 1]))
          .item(),
        15,
      );
      assert.deepEqual(torch.cat(list([x, x]), 0).shape, [4, 3]);
      assert.deepEqual(torch.stack(list([x, x, x])).shape, [3, 2, 3]);
      assert.deepEqual(torch.TensorList.of(list([x, x])).length, 2);
      assert.deepEqual(torch.tensor(list([list([1, 2]), list([3, 4])])).tolist(), [
        [1, 2],
        [3, 4],
      ]);
      assert.deepEqual(torch.tensorFromBytes(new Uint8Array([1, 2, 3, 4]), "uint8", list([2, 2])).tolist(), [
        [1, 2],
        [3, 4],
      ]);
      assert.deepEqual(x.at(list([1, 0]), ":").tolist(), [
        [3, 4, 5],
        [0, 1, 2],
      ]);
      assert.deepEqual(
        x
          .clone()
          .setAt(list([":", 1]), 9)
          .tolist(),
        [
          [0, 9, 2],
          [3, 9, 5],
        ],
      );
      assert.deepEqual(
        torch.aten["_foreach_add"]?.["Scalar"]?.(list([x, x]), 1).map((t: Tensor) => t.sum().item()),
        [21, 21],
      );
      const p = leaf();
      const q = leaf();
      const y = p.mul(q).sum();
      assert.deepEqual(
        torch
          .grad(list([y]), list([p, q]), { retainGraph: true, gradOutputs: list([torch.tensor(2)]) })
          .map((g) => g.tolist()),
        [
          [2, 4],
          [2, 4],
        ],
      );
      torch.backward(list([y]), list([torch.tensor(3)]), { retainGraph: true, inputs: list([p]) });
      assert.deepEqual([p.grad?.tolist(), q.grad], [[3, 6], null]);
      y.backward({ inputs: list([q]) });
      assert.deepEqual(q.grad?.tolist(), [1, 2]);
    });
  });
}

for (const [how, bag] of Object.entries(optionBags)) {
  test(`options, ${how}: the call is as asked`, () => {
    torch.scope(() => {
      assert.deepEqual(
        [torch.full([2, 2], 0, bag({ dtype: "float64" as const, requiresGrad: true }))].map((t) => [
          t.tolist(),
          t.dtype,
          t.requiresGrad,
        ])[0],
        [
          [
            [0, 0],
            [0, 0],
          ],
          "float64",
          true,
        ],
      );
      const x = torch.arange(6).view([2, 3]);
      assert.deepEqual(torch.sum(x, 0, bag({ keepdim: true })).tolist(), [[3, 5, 7]]);
      assert.deepEqual(
        torch
          .add(x, x, bag({ alpha: 10 }))
          .sum()
          .item(),
        165,
      );
      assert.deepEqual(torch.tensor([1, 2], bag({ dtype: "int64" as const })).dtype, "int64");
      assert.deepEqual(x.to(bag({ dtype: "float64" as const, copy: true })).dtype, "float64");
      const p = leaf();
      const y = p.mul(p).sum();
      assert.deepEqual(
        torch.grad(y, p, bag({ retainGraph: true })).map((g) => g.tolist()),
        [[2, 4]],
      );
      y.backward(bag({ retainGraph: true }));
      torch.backward(y, null, bag({ retainGraph: false }));
      assert.deepEqual(p.grad?.tolist(), [4, 8]);
      assert.deepEqual(
        torch.randperm(4, bag({ generator: new torch.Generator().manualSeed(1) })).tolist(),
        torch.randperm(4, { generator: new torch.Generator().manualSeed(1) }).tolist(),
      );
    });
  });
}

test("a custom backward may return gradients through getters", () => {
  class Hostile extends AutogradFunction {
    static forward(ctx: FunctionContext, a: Tensor, b: Tensor): Tensor[] {
      ctx.saveForBackward(a, b);
      return watched([a.mul(b), a.add(b)]);
    }
    static backward(ctx: FunctionContext, product: Tensor, sum: Tensor): Tensor[] {
      disturb();
      return watched([product.mul(ctx.saved(1)).add(sum), product.mul(ctx.saved(0)).add(sum)]);
    }
  }
  const [a, b] = [leaf(), leaf()];
  const [product, sum] = Hostile.apply(a, b) as [Tensor, Tensor];
  product.sum().add(sum.sum()).backward();
  assert.deepEqual(
    [a.grad?.tolist(), b.grad?.tolist()],
    [
      [2, 3],
      [2, 3],
    ],
  );
});

test("operators called inside gradient hooks do not disturb backward", () => {
  const x = leaf();
  x.registerHook((g) => {
    disturb();
    return g.mul(10);
  });
  x.registerPostAccumulateGradHook(() => {
    disturb();
  });
  x.mul(3).sum().backward();
  assert.deepEqual(x.grad?.tolist(), [30, 30]);
});

test("a getter that disposes of what was read before it is an error with a code, and no other tensor is read", () => {
  for (const call of [
    (first: Tensor, list: Tensor[]) => torch.cat([first, ...list.slice(0, 0), ...[]].concat(list)),
    (first: Tensor, list: Tensor[]) => torch.TensorList.of(list).toArray().concat(first),
    (_: Tensor, list: Tensor[]) => torch.grad(list[1] as Tensor, list),
    (_: Tensor, list: Tensor[]) => torch.stack(list),
  ]) {
    const first = leaf();
    const second = torch.ones([2]);
    const list = Object.defineProperty([first, second], 1, { enumerable: true, get: () => (first.dispose(), second) });
    assert.throws(
      () => call(first, list),
      (error) => error instanceof NbitError,
    );
  }
  assert.equal(torch.ones([2]).sum().item(), 2);
});

test("an error in a getter keeps its identity, and leaves nothing behind", () => {
  const mine = new Error("mine");
  const thrower = (): never => {
    disturb();
    throw mine;
  };
  const bad = Object.defineProperty([1, 1], 1, { enumerable: true, get: thrower });
  const x = leaf();
  const before = torch.memory().unreleased;
  torch.scope(() => {
    for (const call of [
      () => torch.zeros(bad),
      () =>
        torch.zeros([1], {
          get dtype(): "float32" {
            return thrower();
          },
        }),
      () => torch.grad(x.sum(), Object.defineProperty([x, x], 1, { get: thrower })),
      () => torch.tensor(bad),
      () => torch.tensorFromBytes(new Uint8Array(1), "uint8", bad),
      () => x.at(bad),
      () =>
        torch.scope(() => ({
          x: torch.ones([2]),
          get y(): Tensor {
            return thrower();
          },
        })),
    ])
      assert.throws(call, (error) => error === mine);
  });
  assert.equal(torch.memory().unreleased, before);
});

test("objects that only look like ours are refused", () => {
  const x = torch.ones([2]);
  const generator = new torch.Generator();
  const fakes: readonly (() => unknown)[] = [
    () =>
      torch.zeros([2], {
        device: Object.create(torch.Device.prototype, { code: { get: () => (disturb(), 0) } }) as torch.Device,
      }),
    () => torch.zeros([2], { device: new Proxy(torch.device("cpu"), {}) }),
    () =>
      torch.randperm(3, {
        generator: Object.create(torch.Generator.prototype, { id: { value: 1 } }) as torch.Generator,
      }),
    () => torch.randperm(3, { generator: new Proxy(generator, {}) }),
    () =>
      torch.stack(
        Object.create(torch.TensorList.prototype, { handles: { value: new Float64Array([1, 2]) } }) as torch.TensorList,
      ),
    () =>
      torch.add(
        x,
        Object.create(Complex.prototype, { re: { get: () => (disturb(), "1") }, im: { value: 0 } }) as number,
      ),
    () => torch.add(x, new Proxy(x, {})),
    () => torch.zeros([{ valueOf: () => (disturb(), 2) } as unknown as number]),
    () => torch.tensorFromBytes(new Uint8Array(2), "uint8", [{ valueOf: () => (disturb(), 2) } as unknown as number]),
    () => torch.manualSeed({ valueOf: () => (disturb(), 2) } as unknown as number),
    () => generator.manualSeed({ [Symbol.toPrimitive]: () => (disturb(), 2) } as unknown as number),
    () => x.size({ valueOf: () => (disturb(), 0) } as unknown as number),
    () => torch.tensor([{ valueOf: () => (disturb(), 2) } as unknown as number]),
    () => x.fill_({ valueOf: () => (disturb(), 2) } as unknown as number),
  ];
  fakes.forEach((fake, i) => {
    assert.throws(fake, (error) => error instanceof NbitError && /^[A-Z_]+$/.test(error.code), `case ${i}`);
  });
  const real = Object.create(Complex.prototype, { re: { get: () => (disturb(), 1) }, im: { value: 0 } }) as Complex;
  assert.equal(torch.ones([1], { dtype: "complex64" }).add(real).itemComplex().re, 2);
});
