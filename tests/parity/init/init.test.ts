/**
 * Initial values, the draws behind them, and the order in which `apply` meets modules, against PyTorch's. The fixtures
 * are made by make_init.py.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { empty, manualSeed, nn, randint, type DType, type Tensor } from "@nbit/torch";

interface Case {
  readonly name: string;
  readonly shape: readonly number[];
  readonly args: readonly number[];
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
const camel = (text: string): string => text.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase());

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
    init(t, ...c.args, ...(Object.keys(options).length === 0 ? [] : [options]));
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

test("init functions refuse wrong arguments", () => {
  const t = empty([2, 2]);
  assert.throws(() => nn.init.calculateGain("leaky_relu" as never), {
    code: "ERR_ARGUMENT",
    message: /nonlinearity to be one of linear, .*, leakyRelu, selu\. Received: "leaky_relu"/,
  });
  assert.throws(() => nn.init.truncNormal_(t, 0, 0), {
    code: "ERR_ARGUMENT",
    message: /std to be a finite number > 0/,
  });
  assert.throws(() => nn.init.truncNormal_(t, 0, 1, 2, -2), { code: "ERR_ARGUMENT", message: /a ≤ b/ });
  assert.throws(() => nn.init.kaimingUniform_(t, { a: 1, mode: "fan_in" } as never), {
    code: "ERR_ARGUMENT",
    message: /mode to be one of fanIn, fanOut\. Received: "fan_in"/,
  });
  assert.equal(nn.init.kaimingUniform_(empty([0, 2])).numel(), 0);
});
