/**
 * Initial values, the draws behind them, and the order in which `apply` meets modules, against PyTorch's. The fixtures
 * are made by make_init.py.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { empty, Generator, manualSeed, nn, randint, type DType, type Tensor } from "@nbit/torch";
import { camel } from "../../helpers/camel.js";

interface Case {
  readonly name: string;
  readonly shape: readonly number[];
  readonly args: readonly (number | string)[];
  readonly options: Readonly<Record<string, number | string>>;
  readonly dtype: DType;
  readonly values: unknown;
  readonly after: readonly number[];
}
interface Apply {
  readonly name: "apply";
  readonly order: readonly string[];
  readonly weights: unknown;
}
const url = new URL("../../../parity/init/init.jsonl", import.meta.url);
const lines = readFileSync(url, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case | Apply);
const isApply = (line: Case | Apply): line is Apply => line.name === "apply";
const flat = (v: unknown): number[] => (Array.isArray(v) ? v.flatMap(flat) : [Number(v)]);

test("one seed gives PyTorch's numbers, and leaves the generator where PyTorch's is", () => {
  const cases = lines.filter((line): line is Case => !isApply(line));
  assert.ok(cases.length > 100);
  for (const c of cases) {
    const what = `${c.name} ${JSON.stringify([c.shape, c.args, c.options, c.dtype])}`;
    manualSeed(3);
    const t = empty([...c.shape], { dtype: c.dtype });
    const options = Object.fromEntries(
      Object.entries(c.options).map(([name, value]) => [name, typeof value === "string" ? camel(value) : value]),
    );
    const init = Reflect.get(nn.init, camel(c.name)) as (...args: unknown[]) => Tensor;
    assert.equal(init(t, ...c.args, ...(Object.keys(options).length === 0 ? [] : [options])), t);
    const [got, expected] = [flat(t.double().tolist()), flat(c.values)];
    const near = c.name === "orthogonal_" ? 1e-6 : 0; // a matrix product and a factorization
    got.forEach((v, i) =>
      assert.ok(Math.abs(v - (expected[i] as number)) <= near, `${what}: ${v} is not ${expected[i]}`),
    );
    assert.deepEqual(randint(0, 2 ** 31, [2], { dtype: "int64" }).tolist(), c.after, `${what}, afterwards`);
  }
});

class Block extends nn.Module {
  readonly first = new nn.Linear(2, 3);
  readonly second = new nn.Sequential(new nn.Linear(3, 3), new nn.Linear(3, 2));
  forward(x: Tensor): Tensor {
    return x;
  }
}
class Net extends nn.Module {
  readonly block = new Block();
  readonly head = new nn.Linear(2, 1);
  forward(x: Tensor): Tensor {
    return x;
  }
}

test("apply meets children in the order of their declaration, then their parent", () => {
  const expected = lines.find(isApply);
  assert.ok(expected !== undefined);
  const net = new Net();
  const order: string[] = [];
  manualSeed(5);
  net.apply((m) => {
    order.push(m.constructor.name);
    if (m instanceof nn.Linear) nn.init.normal_(m.weight);
  });
  assert.deepEqual(order, expected.order);
  const weights = [...net.modules()].filter((m) => m instanceof nn.Linear).map((m) => m.weight.tolist());
  assert.deepEqual(flat(weights), flat(expected.weights));
});

test("apply meets a module that stands in two places twice, and ends in a cycle", () => {
  class Ring extends nn.Module {
    other: nn.Module | null = null;
    readonly relu = new nn.ReLU();
    forward(x: Tensor): Tensor {
      return x;
    }
  }
  const [a, b] = [new Ring(), new Ring()];
  a.other = b;
  b.other = a;
  let calls = 0;
  a.apply(() => void calls++);
  assert.equal(calls, 4); // a, b, and the two activations
  const shared = new nn.ReLU();
  const met: nn.Module[] = [];
  new nn.Sequential(new nn.Sequential(shared), new nn.Sequential(shared)).apply((m) => void met.push(m));
  assert.equal(met.filter((m) => m === shared).length, 2);
});

test("options by name and by position, a generator of one's own, and PyTorch's spelling of words", () => {
  const draw = (fill: (t: Tensor, generator: Generator) => Tensor): unknown =>
    fill(empty([3, 4]), new Generator().manualSeed(7)).tolist();
  const { init } = nn;
  const same: readonly (readonly [(t: Tensor, g: Generator) => Tensor, (t: Tensor, g: Generator) => Tensor])[] = [
    [(t, g) => init.uniform_(t, 0, 2, g), (t, generator) => init.uniform_(t, { b: 2, generator })],
    [(t, g) => init.normal_(t, 0, 2, g), (tensor, generator) => init.normal_({ tensor, std: 2, generator })],
    [(t, g) => init.xavierNormal_(t, 2, g), (t, generator) => init.xavierNormal_(t, { gain: 2, generator })],
    [
      (t, g) => init.truncNormal_(t, 0, 2, -1, 1, g),
      (t, generator) => init.truncNormal_(t, 0, { std: 2, a: -1, b: 1, generator }),
    ],
    [
      (t, g) => init.kaimingUniform_(t, 0.1, "fan_out", "leaky_relu", g),
      (t, generator) => init.kaimingUniform_(t, { a: 0.1, mode: "fanOut", nonlinearity: "leakyRelu", generator }),
    ],
    [(t, g) => init.orthogonal_(t, 1, g), (t, generator) => init.orthogonal_(t, { generator })],
  ];
  for (const [position, name] of same) assert.deepEqual(draw(position), draw(name));
  assert.equal(init.calculateGain("leaky_relu", 0.2), init.calculateGain({ nonlinearity: "leakyRelu", param: 0.2 }));
});

test("old names do the same and say so once", async () => {
  const warnings: string[] = [];
  const listen = ({ message }: Error): void => void warnings.push(message);
  process.on("warning", listen);
  assert.deepEqual(nn.init.constant(empty([2]), 3).tolist(), [3, 3]);
  assert.deepEqual(nn.init.constant(empty([2]), { val: 4 }).tolist(), [4, 4]);
  await new Promise(setImmediate);
  process.off("warning", listen);
  assert.deepEqual(warnings, ["init.constant is an old name of init.constant_."]);
});

test("init functions refuse wrong arguments", () => {
  const t = empty([2, 2]);
  const refused = (call: () => unknown, message: RegExp): void =>
    assert.throws(call, { code: "ERR_ARGUMENT", message });
  refused(
    () => nn.init.calculateGain("leaky" as "relu"),
    /nonlinearity to be one of linear, .*, leakyRelu, selu\. Received: "leaky"/,
  );
  refused(() => nn.init.truncNormal_(t, 0, 0), /std to be a finite number > 0/);
  refused(() => nn.init.truncNormal_(t, 0, 1, 2, -2), /a ≤ b/);
  refused(
    () => nn.init.kaimingUniform_(t, { a: 1, mode: "in" as "fanIn" }),
    /mode to be one of fanIn, fanOut\. Received: "in"/,
  );
  refused(() => nn.init.dirac_(t), /a tensor of 3, 4 or 5 dimensions/);
  refused(() => nn.init.dirac_(empty([3, 2, 1]), 2), /groups to divide the output channels \(3\)/);
  refused(() => nn.init.sparse_(t, 1.5), /sparsity to be a number in \[0, 1\]/);
  refused(() => nn.init.xavierNormal_(empty([3])), /at least 2 dimensions/);
  refused(() => Reflect.apply(nn.init.xavierNormal_, undefined, [t, { gian: 2 }]), /the option gain/);
  assert.equal(nn.init.kaimingUniform_(empty([0, 2])).numel(), 0);
});
