/** FLOPs are PyTorch's, by operator and by module: fixtures/flops.py made the numbers. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { getAvailableFlops, measureFlops, summarize } from "@nbit/lightning";
import { manualSeed, nn, randn, relu, setNumThreads, utils } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

setNumThreads(1);
manualSeed(0);
const { FlopCounterMode, registerFlopFormula } = utils.flopCounter;

interface Counted {
  readonly total: number;
  readonly modules: Readonly<Record<string, number>>;
  readonly operators: Readonly<Record<string, number>>;
}
const fixtures = JSON.parse(
  readFileSync(new URL("../../profiling/fixtures/flops.json", import.meta.url), "utf8"),
) as Readonly<Record<string, { readonly forward: Counted; readonly step: Counted }>>;

class BasicBlock extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.BatchNorm2d;
  readonly conv2: nn.Conv2d;
  readonly bn2: nn.BatchNorm2d;
  readonly downsample: nn.Sequential | null;
  constructor(inputs: number, outputs: number, stride: number) {
    super();
    this.conv1 = new nn.Conv2d(inputs, outputs, 3, { stride, padding: 1, bias: false });
    this.bn1 = new nn.BatchNorm2d(outputs);
    this.conv2 = new nn.Conv2d(outputs, outputs, 3, { padding: 1, bias: false });
    this.bn2 = new nn.BatchNorm2d(outputs);
    this.downsample =
      stride === 1 && inputs === outputs
        ? null
        : new nn.Sequential(new nn.Conv2d(inputs, outputs, 1, { stride, bias: false }), new nn.BatchNorm2d(outputs));
  }
  override forward(x: Tensor): Tensor {
    const y = this.bn2.forward(this.conv2.forward(relu(this.bn1.forward(this.conv1.forward(x)))));
    return relu(y.add(this.downsample === null ? x : (this.downsample.forward(x) as Tensor)));
  }
}
class ResNet18 extends nn.Module {
  readonly conv1 = new nn.Conv2d(3, 64, 7, { stride: 2, padding: 3, bias: false });
  readonly bn1 = new nn.BatchNorm2d(64);
  readonly maxpool = new nn.MaxPool2d(3, { stride: 2, padding: 1 });
  readonly layer1 = new nn.Sequential(new BasicBlock(64, 64, 1), new BasicBlock(64, 64, 1));
  readonly layer2 = new nn.Sequential(new BasicBlock(64, 128, 2), new BasicBlock(128, 128, 1));
  readonly layer3 = new nn.Sequential(new BasicBlock(128, 256, 2), new BasicBlock(256, 256, 1));
  readonly layer4 = new nn.Sequential(new BasicBlock(256, 512, 2), new BasicBlock(512, 512, 1));
  readonly fc = new nn.Linear(512, 1000);
  override forward(input: Tensor): Tensor {
    let x = this.maxpool.forward(relu(this.bn1.forward(this.conv1.forward(input))));
    for (const layer of [this.layer1, this.layer2, this.layer3, this.layer4]) x = layer.forward(x) as Tensor;
    return this.fc.forward(x.mean([2, 3]));
  }
}

class Block extends nn.Module {
  readonly qkv: nn.Linear;
  readonly proj: nn.Linear;
  readonly fc1: nn.Linear;
  readonly fc2: nn.Linear;
  constructor(
    d: number,
    readonly heads: number,
  ) {
    super();
    this.qkv = new nn.Linear(d, 3 * d);
    this.proj = new nn.Linear(d, d);
    this.fc1 = new nn.Linear(d, 4 * d);
    this.fc2 = new nn.Linear(4 * d, d);
  }
  override forward(x: Tensor): Tensor {
    const [b = 0, t = 0, d = 0] = x.shape;
    const split = (p: Tensor): Tensor => p.view([b, t, this.heads, d / this.heads]).transpose(1, 2);
    const [q, k, v] = this.qkv.forward(x).chunk(3, 2).map(split) as [Tensor, Tensor, Tensor];
    const y = nn.functional.scaledDotProductAttention(q, k, v, { isCausal: true });
    const attended = x.add(this.proj.forward(y.transpose(1, 2).reshape([b, t, d])));
    return attended.add(this.fc2.forward(nn.functional.gelu(this.fc1.forward(attended))));
  }
}
class Transformer extends nn.Module {
  readonly blocks = new nn.Sequential(new Block(32, 4), new Block(32, 4));
  readonly head = new nn.Linear(32, 50);
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.blocks.forward(x) as Tensor);
  }
}
class Decoder extends nn.Module {
  readonly up = new nn.ConvTranspose2d(4, 6, 3, { stride: 2, padding: 1 });
  readonly group = new nn.Conv2d(6, 6, 3, { groups: 3 });
  readonly one = new nn.Conv1d(6, 5, 4);
  override forward(x: Tensor): Tensor {
    return this.one.forward(this.group.forward(this.up.forward(x)).flatten(2));
  }
}
class Recurrent extends nn.Module {
  readonly lstm = new nn.LSTM(10, 20, { numLayers: 2, bidirectional: true });
  readonly out = new nn.Linear(40, 3);
  override forward(x: Tensor): Tensor {
    return this.out.forward(this.lstm.forward(x)[0]);
  }
}

const CASES: readonly (readonly [name: string, make: () => nn.Module, shape: readonly number[]])[] = [
  ["resnet18", () => new ResNet18(), [2, 3, 64, 64]],
  ["transformer", () => new Transformer(), [2, 16, 32]],
  ["decoder", () => new Decoder(), [2, 4, 9, 9]],
];
const sums = (counts: Readonly<Record<string, Readonly<Record<string, number>>>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).map(([k, own]) => [k, Object.values(own).reduce((a, b) => a + b, 0)]));
/** PyTorch counts the backward of what ran beside a shortcut for the shortcut too: more than its parent has. */
const apart = (modules: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(modules).filter(([name]) => !name.includes(".downsample")));
const call = (model: nn.Module, x: Tensor): Tensor => Reflect.apply(model.forward, model, [x]) as Tensor;

for (const [name, make, shape] of CASES)
  test(`FLOPs of ${name} are PyTorch's`, () => {
    const model = make();
    const x = randn(shape);
    for (const kind of ["forward", "step"] as const) {
      if (kind === "forward") model.eval();
      else model.train();
      const counter = new FlopCounterMode({ mods: model, display: false });
      counter.run(() => {
        const y = call(model, x);
        if (kind === "step") y.sum().backward();
      });
      const expected = fixtures[name]?.[kind];
      const counts = counter.getFlopCounts();
      assert.equal(counter.getTotalFlops(), expected?.total);
      assert.deepEqual(counts["Global"], expected?.operators);
      assert.deepEqual(apart(sums(counts)), apart(expected?.modules ?? {}));
    }
  });

test("FLOPs of an LSTM are those of its products", () => {
  const model = new Recurrent();
  const counter = new FlopCounterMode({ mods: model, display: false });
  const x = randn([7, 3, 10]);
  counter.run(() => model.eval().forward(x));
  assert.equal(counter.getTotalFlops(), fixtures["lstm"]?.forward.total);
});

test("the device meta is counted without computing", () => {
  const make = (): nn.Sequential => new nn.Sequential(new nn.Linear(8, 16), new nn.Linear(16, 4));
  const count = (model: nn.Sequential, x: Tensor): readonly number[] => [
    measureFlops(model, () => model.forward(x)),
    measureFlops(
      model,
      () => model.forward(x) as Tensor,
      (y) => y.sum(),
    ),
  ];
  assert.deepEqual(count(make().toEmpty("meta"), randn([5, 8]).to("meta")), [1920, 1920 + 640 + 640 + 1280]);
  assert.deepEqual(count(make(), randn([5, 8])), [1920, 1920 + 640 + 640 + 1280]);
});

test("a table shows modules to a depth, and what has a formula of its own counts", () => {
  const model = new nn.Sequential(new nn.Linear(4, 8), new nn.Sequential(new nn.Linear(8, 2)));
  const counter = new FlopCounterMode(model, {
    display: false,
    customMapping: { "aten::relu": ([x]) => (x as number[]).length },
  });
  counter.run(() => relu(model.forward(randn([3, 4])) as Tensor));
  assert.match(counter.getTable(1), /^ Sequential +288\.000 +99\.31%$/m);
  assert.match(counter.getTable(1), /^Global +290\.000 +100\.00%$/m);
  assert.doesNotMatch(counter.getTable(1), /Sequential\.0/);
  assert.match(counter.getTable(null), /^ {3}Sequential\.1\.0 +96\.000/m);
  assert.throws(() => registerFlopFormula("aten::mm", () => 0), { code: "ERR_ARGUMENT" });
  assert.throws(() => new FlopCounterMode({ mods: 3 as never }), { code: "ERR_ARGUMENT" });
});

test("a failure within closes the counter", () => {
  const counter = new FlopCounterMode({ display: false });
  assert.throws(() =>
    counter.run(() => {
      throw new Error("mine");
    }),
  );
  counter.run(() => randn([2, 3]).matmul(randn([3, 4])));
  assert.equal(counter.getTotalFlops(), 48);
});

test("a summary has FLOPs by layer where there is an example input", () => {
  const model = new Transformer();
  const summary = summarize(model, { maxDepth: 2, exampleInput: randn([2, 16, 32]) });
  assert.equal(summary.flops, fixtures["transformer"]?.forward.total);
  const block = summary.layers.find(({ name }) => name === "blocks.1");
  assert.equal(block?.flops, fixtures["transformer"]?.forward.modules["Transformer.blocks.1"]);
  assert.match(String(summary), /FLOPs in a forward of the example input/);
  assert.equal(summarize(model).flops, null);
  assert.doesNotMatch(String(summarize(model)), /FLOPs/);
});

test("a CPU has no peak in the table", () => {
  assert.equal(getAvailableFlops("cpu", "float32"), null);
});
