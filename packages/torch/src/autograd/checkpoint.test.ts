import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import * as torch from "../index.js";
import { checkpoint, checkpointSequential, nn, savedTensorsHooks, saveOnCpu, scope, type Tensor } from "../index.js";

// Where no closure of a test's own sees the loss: one that holds a graph that holds it is never collected.
function backwardThrows(loss: Tensor, expected: Parameters<typeof assert.throws>[1]): void {
  assert.throws(() => loss.backward(), expected as Error);
}

const bytes = (t: Tensor): string => Buffer.from(t.toBytes()).toString("base64");

/** A block of attention-like shape: two products, a norm and dropout. */
class Block extends nn.Module {
  readonly norm: nn.LayerNorm;
  readonly fc1: nn.Linear;
  readonly fc2: nn.Linear;
  readonly drop = new nn.Dropout(0.3);
  runs = 0;
  constructor(readonly width: number) {
    super();
    this.norm = new nn.LayerNorm([width]);
    this.fc1 = new nn.Linear(width, 4 * width);
    this.fc2 = new nn.Linear(4 * width, width);
  }
  forward(x: Tensor): Tensor {
    this.runs++;
    return this.drop.forward(this.fc2.forward(torch.gelu(this.fc1.forward(this.norm.forward(x))))).add(x);
  }
}

interface Outcome {
  readonly loss: string;
  readonly gradients: readonly (string | null)[];
  readonly random: number[];
  readonly runs: number[];
}
type How = (block: Block, x: Tensor) => Tensor;
const plainly: How = (block, x) => block.forward(x);
const checkpointed: How = (block, x) => checkpoint((h: Tensor) => block.forward(h), x);

/** A step of three blocks; random numbers that follow tell whether as many were drawn. */
function step(
  how: How,
  within: (fn: () => Tensor) => Tensor = (fn) => fn(),
  prepare?: (net: nn.Module) => void,
): Outcome {
  torch.manualSeed(3);
  const blocks = new nn.ModuleList([new Block(8), new Block(8), new Block(8)]);
  const input = torch.randn([5, 8]);
  prepare?.(blocks);
  return scope(() => {
    const x = input.to(blocks.parameters()[0]?.dtype ?? "float32").requiresGrad_();
    const loss = scope(() =>
      within(() =>
        [...blocks]
          .reduce((h, b) => how(b as Block, h), x)
          .square()
          .mean(),
      ),
    );
    loss.backward();
    const gradients = [x, ...blocks.parameters()].map((p) => (p.grad === null ? null : bytes(p.grad)));
    const random = torch.rand([3]).tolist() as number[];
    return { loss: bytes(loss), gradients, random, runs: [...blocks].map((b) => (b as Block).runs) };
  });
}
function same(actual: Outcome, expected: Outcome, runs: readonly number[]): void {
  assert.equal(actual.loss, expected.loss);
  assert.deepEqual(actual.gradients, expected.gradients);
  assert.ok(expected.gradients.every((g) => g !== null));
  assert.deepEqual(actual.random, expected.random);
  assert.deepEqual(actual.runs, runs);
}

const policy = new torch.amp.AutocastPolicy({ layer_norm: "lower", gelu: "float32" });

void describe("checkpoint", () => {
  for (const [name, within, prepare] of [
    ["float32", undefined, undefined],
    ["float64", undefined, (net: nn.Module) => void net.to({ dtype: "float64" })],
    ["bfloat16 parameters", undefined, (net: nn.Module) => void net.to({ dtype: "bfloat16" })],
    ["autocast to bfloat16", (fn: () => Tensor) => torch.autocast({ dtype: "bfloat16" }, fn), undefined],
    ["autocast to float16", (fn: () => Tensor) => torch.autocast({ dtype: "float16" }, fn), undefined],
    [
      "autocast by a policy",
      (fn: () => Tensor) => torch.autocast({ dtype: "bfloat16" }, () => policy.run(fn)),
      undefined,
    ],
  ] as const)
    void it(`gives the same gradients, to the last bit: ${name}`, () => {
      const expected = step(plainly, within, prepare);
      same(step(checkpointed, within, prepare), expected, [2, 2, 2]);
    });

  void it("nests, and each level runs again once", () => {
    const nested: How = (block, x) =>
      checkpoint((h: Tensor) => checkpoint((inner: Tensor) => block.forward(inner), h.mul(1)).sin(), x);
    const expected = step((block, x) => block.forward(x.mul(1)).sin());
    same(step(nested), expected, [3, 3, 3]);
  });

  void it("runs again whatever node asks for it: each layer by itself, the last one too", () => {
    type Layer = nn.Module & { forward(x: Tensor): Tensor };
    const run = (nested: boolean, how: (layer: Layer, x: Tensor) => Tensor): unknown => {
      torch.manualSeed(4);
      const layers = [new nn.Linear(6, 8), new nn.LayerNorm([8]), new nn.GELU(), new nn.Linear(8, 3)] as const;
      const whole = (x: Tensor): Tensor => layers.reduce((h: Tensor, layer) => how(layer, h), x);
      const input = torch.randn([5, 6]);
      (nested ? checkpoint(whole, input) : whole(input)).square().sum().backward();
      return layers.flatMap((layer) => layer.parameters()).map((p) => bytes(p.grad as Tensor));
    };
    const expected = run(false, (layer, x) => layer.forward(x));
    for (const nested of [false, true])
      assert.deepEqual(
        run(nested, (layer, x) => checkpoint((h: Tensor) => layer.forward(h), x)),
        expected,
      );
    assert.deepEqual(
      run(true, (layer, x) => layer.forward(x)),
      expected,
    );
  });

  void it("keeps no more than the arguments", () => {
    const peak = (how: How): number => {
      torch.manualSeed(1);
      const blocks = Array.from({ length: 8 }, () => new Block(64));
      const x = torch.randn([512, 64], { requiresGrad: true });
      // What nodes hold when forward is over.
      return scope(() => {
        const before = torch.memory().allocatedBytes;
        const loss = scope(() => blocks.reduce((h, block) => how(block, h), x).sum());
        const held = torch.memory().allocatedBytes - before;
        loss.backward();
        return held;
      });
    };
    const [all, few] = [peak(plainly), peak(checkpointed)];
    assert.ok(few < all / 6, `${few} of ${all}`);
    assert.ok(few >= 7 * 512 * 64 * 4, `${few}`);
  });

  void it("leaves the statistics of batch normalisation as one forward does", () => {
    const run = (again: boolean): unknown => {
      torch.manualSeed(0);
      const norm = new nn.BatchNorm1d(4);
      const x = torch.randn([6, 4], { requiresGrad: true });
      const y = again ? checkpoint((h: Tensor) => norm.forward(h), x) : norm.forward(x);
      y.square().sum().backward();
      return [...norm.buffers(), x.grad as Tensor].map(bytes);
    };
    assert.deepEqual(run(true), run(false));
  });

  void it("takes and returns containers, and runs part of a graph, twice, and for gradients of gradients", () => {
    const w = torch.tensor([2, 3], { requiresGrad: true });
    const fn = ({
      a,
      rest,
    }: {
      a: Tensor;
      rest: readonly [Tensor, Map<string, number>];
    }): { y: Tensor; z: Tensor } => ({
      y: a
        .exp()
        .mul(rest[0])
        .mul(rest[1].get("by") ?? 0),
      z: rest[0].sin(),
    });
    const gradients = (how: typeof fn): unknown =>
      scope(() => {
        const x = torch.tensor([0.5, 1], { requiresGrad: true });
        const { y, z } = how({ a: x, rest: [w, new Map([["by", 3]])] });
        const [gz] = torch.grad([z.sum()], [w], { retainGraph: true }) as [Tensor];
        const [first] = torch.grad([y.sum()], [x], { createGraph: true }) as [Tensor];
        const [second] = torch.grad([first.square().sum()], [x], { retainGraph: true }) as [Tensor];
        const [again] = torch.grad([y.sum()], [x]) as [Tensor];
        return [gz, first, second, again].map((t) => t.tolist());
      });
    assert.deepEqual(
      gradients((value) => checkpoint(fn, value)),
      gradients(fn),
    );
  });

  void it("says when fn computes something else, or needs what is gone", () => {
    const x = torch.randn([4], { requiresGrad: true });
    let calls = 0;
    const fewer = checkpoint((h: Tensor) => (calls++ === 0 ? h.exp().sin() : h.mul(1)), x).sum();
    backwardThrows(fewer, { code: "ERR_CHECKPOINT_MISMATCH", message: /save 2 tensors .* Received: 0/ });
    const other = checkpoint((h: Tensor) => h.narrow(0, 0, calls++ < 3 ? 4 : 2).exp(), x);
    calls = 9;
    backwardThrows(other.sum(), { code: "ERR_CHECKPOINT_MISMATCH", message: /\[4\].*\[2\]/ });
    const lost = scope(() => {
      const mask = torch.ones([4]);
      return checkpoint((h: Tensor) => h.mul(mask).exp(), x).sum();
    });
    backwardThrows(lost, { code: "ERR_CHECKPOINT_TENSOR", message: /as arguments/ });
    const changed = torch.ones([4]);
    const y = checkpoint((h: Tensor, m: Tensor) => h.exp().mul(m), x, changed).sum();
    changed.add_(1);
    backwardThrows(y, /modified by an inplace operation/);
    assert.throws(() => checkpoint((h: Tensor) => Promise.resolve(h), x), { code: "SCOPE_ASYNC" });
    assert.throws(() => checkpoint(3 as unknown as () => void), { code: "ERR_ARGUMENT" });
    const thrown = new Error("of the program's own");
    let fails = false;
    const later = checkpoint((h: Tensor) => {
      if (fails) throw thrown;
      return h.exp();
    }, x).sum();
    fails = true;
    backwardThrows(later, (e: unknown) => e === thrown);
    fails = false;
    later.backward(); // the graph is intact
    assert.ok(x.grad !== null);
  });

  void it("runs once where nothing is recorded, and saves as ever after an error", () => {
    let calls = 0;
    const x = torch.ones([2], { requiresGrad: true });
    const y = torch.noGrad(() => checkpoint((h: Tensor) => (calls++, h.exp()), x));
    assert.equal(y.requiresGrad, false);
    assert.throws(() =>
      checkpoint(() => {
        throw new Error("no");
      }),
    );
    x.exp().sum().backward();
    assert.equal(calls, 1);
  });
});

test("checkpointSequential: all segments but the last run again, and gradients are the same", () => {
  const run = (segments: number | null): unknown => {
    torch.manualSeed(2);
    const blocks = Array.from({ length: 5 }, () => new Block(4));
    const x = torch.randn([3, 4], { requiresGrad: true });
    const y =
      segments === null
        ? blocks.reduce((h, b) => b.forward(h), x)
        : checkpointSequential(new nn.Sequential(...blocks), segments, x);
    y.sum().backward();
    return [
      [...blocks.flatMap((b) => b.parameters()), x].map((p) => bytes(p.grad as Tensor)),
      blocks.map((b) => b.runs),
    ];
  };
  const [expected] = run(null) as [unknown];
  assert.deepEqual(run(2), [expected, [2, 2, 1, 1, 1]]);
  assert.deepEqual(run(5), [expected, [2, 2, 2, 2, 1]]);
  assert.deepEqual(run(1), [expected, [1, 1, 1, 1, 1]]);
  assert.throws(() => checkpointSequential([(x) => x], 2, torch.ones([1])), {
    message: /at most the number of functions \(1\)/,
  });
  assert.throws(() => checkpointSequential([3 as never], 1, torch.ones([1])), { code: "ERR_ARGUMENT" });
});

void describe("saved tensors", () => {
  void it("go through pack at once and through unpack in backward, the innermost pair's", () => {
    const said: string[] = [];
    const x = torch.tensor([1, 2], { requiresGrad: true });
    const y = savedTensorsHooks(
      (t) => {
        said.push(`pack ${String(t.tolist())}`);
        return t.mul(10);
      },
      (t) => {
        said.push(`unpack ${String(t.tolist())}`);
        return t.div(10);
      },
      () => {
        const inner = savedTensorsHooks(
          (t) => ({ values: t.tolist() as number[] }),
          ({ values }) => torch.tensor(values),
          () => x.square(),
        );
        return inner.mul(inner);
      },
    );
    assert.deepEqual(said, ["pack 1,4", "pack 1,4"]);
    y.sum().backward();
    assert.deepEqual(said.slice(2), ["unpack 10,40", "unpack 10,40"]);
    assert.deepEqual(x.grad?.tolist(), [4, 32]);
  });

  void it("keeps the operator's arguments, whatever pack disposes of", () => {
    const x = torch.ones([1000], { requiresGrad: true });
    scope(() => {
      const a = x.mul(2);
      const y = savedTensorsHooks(
        (t) => {
          a.dispose();
          const copy = t.clone();
          t.dispose();
          return copy;
        },
        (t) => t,
        () => a.exp(),
      );
      assert.ok(Math.abs((y.at(0).item() as number) - Math.exp(2)) < 1e-5);
      y.sum().backward();
    });
    assert.ok(Math.abs((x.grad?.at(0).item() as number) - 2 * Math.exp(2)) < 1e-4);
  });

  void it("are freed with the graph", () => {
    const x = torch.ones([1 << 16], { requiresGrad: true });
    scope(() => {
      const before = torch.memory().allocatedBytes;
      const y = savedTensorsHooks(
        (t) => t.clone(),
        (t) => t,
        () => scope(() => x.exp().sin().sum()),
      );
      const held = torch.memory().allocatedBytes - before;
      assert.ok(held >= 2 * x.nbytes, `${held}`);
      y.backward();
      const after = torch.memory().allocatedBytes - before;
      assert.ok(after < 1.1 * x.nbytes, `${after}`); // the gradient
    });
  });

  void it("says what is wrong with hooks, and passes their errors on", () => {
    const x = torch.ones([2], { requiresGrad: true });
    const bad = savedTensorsHooks(
      () => 3,
      () => undefined as unknown as Tensor,
      () => x.exp().sum(),
    );
    backwardThrows(bad, { code: "ERR_ARGUMENT", message: /unpack to return a tensor/ });
    const thrown = new Error("no room");
    assert.throws(
      () =>
        savedTensorsHooks(
          () => {
            throw thrown;
          },
          (t: Tensor) => t,
          () => x.exp(),
        ),
      (e) => e === thrown,
    );
    const promise = Promise.resolve(1);
    assert.throws(
      () =>
        savedTensorsHooks(
          () => promise,
          () => x,
          () => x.exp(),
        ),
      { code: "ERR_ASYNC_HOOK" },
    );
    assert.throws(
      () =>
        savedTensorsHooks(
          (t) => t,
          (t) => t,
          () => promise,
        ),
      { code: "ERR_ASYNC_MODE" },
    );
    assert.throws(
      () =>
        savedTensorsHooks(
          1 as never,
          (t: Tensor) => t,
          () => x,
        ),
      { code: "ERR_ARGUMENT" },
    );
    x.exp().sum().backward(); // as ever
    assert.ok(x.grad !== null);
  });

  void it("saveOnCpu leaves what is on the CPU where it is", () => {
    const expected = step(plainly);
    same(
      step(plainly, (fn) => saveOnCpu(fn)),
      expected,
      [1, 1, 1],
    );
    same(
      step(checkpointed, (fn) => saveOnCpu(fn, { pinMemory: false })),
      expected,
      [2, 2, 2],
    );
    assert.throws(() => saveOnCpu(() => 1, { pin: true } as never), { message: /pinMemory/ });
  });
});
