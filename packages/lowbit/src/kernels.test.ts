/**
 * The tables of kernels that this processor can run, one after the other: all give the codes of the plain reference.
 * The other tests run on the fastest alone.
 */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import {
  nn,
  operators,
  randint,
  randn,
  scope,
  seedEverything,
  tensor,
  tensorFromBytes,
  zeros,
  type Tensor,
} from "@nbit/torch";
import * as lowbit from "./index.js";
import {
  Adagrad8bit,
  AdamW8bit,
  dynamicMap,
  dynamicMap4,
  FORMATS,
  linearMap,
  type LowBitOptimizer,
  quantizeBlockwise,
  SGD8bit,
  type FormatName,
} from "./index.js";

function operator(name: string): (...args: readonly unknown[]) => unknown {
  const found = operators("nbit")[name];
  assert.ok(found !== undefined, name);
  return found;
}
const use = operator("use_low_bit_kernels");
const tables = Array.from({ length: Number(operator("low_bit_kernels")()) }, (_, i) => i);
afterEach(() => void use(0));
/** The test on each table; what it returns has to be the same on all. */
const everyTable = (name: string, body: (table: number) => void): void =>
  tables.forEach((table) => {
    test(`${name}: table ${table} of ${tables.length}`, () => {
      use(table);
      scope(() => body(table));
    });
  });

test("a table that is not there is refused", () => {
  assert.equal(use(tables.length - 1), 0);
  assert.equal(use(0), tables.length - 1);
  for (const which of [-1, tables.length])
    assert.throws(() => use(which), /number of a table of kernels, below \d+\. Received/);
});

const equalCodes = (x: Tensor, format: FormatName, signed: boolean, blockSize: number, what: string): void =>
  scope(() => {
    const [fused, plain] = [
      quantizeBlockwise(x, { format, signed, blockSize }),
      FORMATS[format].quantize(x, { signed, blockSize }),
    ];
    assert.equal(fused.absmax.ne(plain.absmax).sum().item(), 0, `${what}: absmax`);
    const wrong = fused.codes.view("uint8").ne(plain.codes.view("uint8"));
    assert.equal(wrong.sum().item(), 0, `${what}: codes, first at ${wrong.view([-1]).to("uint8").argmax().item()}`);
  });

/** Float32 numbers from two below each of `values` to two above, and their negatives. */
function around(values: readonly number[]): Float32Array {
  const bits = new Int32Array(Float32Array.from(values.map(Math.abs)).buffer);
  const near = [...bits].flatMap((b) => [-2, -1, 0, 1, 2].map((d) => Math.max(b + d, 0)));
  const positive = new Float32Array(Int32Array.from(near).buffer);
  return Float32Array.from([...positive, ...positive.map((v) => -v)]);
}
const MAPS: readonly (readonly [FormatName, boolean, readonly number[]])[] = [
  ["dynamic8", true, dynamicMap(true)],
  ["dynamic8", false, dynamicMap(false)],
  ["dynamic4", true, dynamicMap4(true)],
  ["dynamic4", false, dynamicMap4(false)],
  ["linear4", true, linearMap(true, 4)],
  ["linear4", false, linearMap(false, 4)],
  ["linear8", true, linearMap(true, 8)],
  ["linear8", false, linearMap(false, 8)],
];
everyTable("two numbers to both sides of every midpoint, of every start of a binade and of every bin", () => {
  for (const [format, signed, map] of MAPS) {
    const values = map.map(Math.fround);
    const midpoints = values.slice(1).map((v, i) => Math.fround(Math.fround(v + (values[i] as number)) * 0.5));
    const binades = Array.from({ length: 150 }, (_, e) => 2 ** -e);
    const bins = Array.from(
      { length: 0x3f80 - 0x3000 },
      (_, i) => new Float32Array(Int32Array.of((0x3000 + i) << 16).buffer)[0] as number,
    );
    const x = around([...midpoints, ...binades, ...bins]).map((v) => (Math.abs(v) <= 1 ? v : 0));
    // One block each with a 1 in it, so that values up to 1 are themselves; a midpoint meets every place of a register.
    const rows = Math.ceil(x.length / 253);
    const padded = new Float32Array(rows * 256);
    for (let row = 0; row < rows; row++) {
      padded.set(x.subarray(row * 253, row * 253 + 253), row * 256);
      padded[row * 256 + 255] = 1;
    }
    equalCodes(
      tensorFromBytes(padded, "float32", [padded.length]),
      format,
      signed,
      256,
      `${format} ${signed ? "signed" : "unsigned"}`,
    );
  }
});

everyTable("random numbers of every size, with zeros, infinities and NaN", () => {
  seedEverything(11);
  for (const [format, signed] of MAPS)
    for (const [blockSize, scale] of [
      [256, 1],
      [100, 1e-30],
      [4096, 1e30],
      [64, 1e-38],
      [250, 1e-3],
    ] as const) {
      const n = 20_003;
      const some = (one: number): Tensor => randint(0, one, [n]).eq(0);
      const x = randn([n])
        .mul(randn([n]).mul(4).exp())
        .mul(scale);
      const y = x
        .where(some(97).logicalNot(), tensor(Infinity))
        .where(some(89).logicalNot(), tensor(NaN))
        .where(some(7).logicalNot(), zeros([]));
      for (const values of [x, y])
        equalCodes(
          signed ? values : values.abs(),
          format,
          signed,
          blockSize,
          `${format} ${signed ? "signed" : "unsigned"}, blocks of ${blockSize}, ${scale}`,
        );
    }
});

everyTable(
  "states that are not finite scale nothing away: infinite ones keep the largest code, NaN the one of zero",
  () => {
    // Halves and whole numbers, so that p + g has one value in any order of operations.
    const at = { infinite: 300, negative: 70, none: 510 };
    const start = Float32Array.from({ length: 777 }, (_, i) => (i % 31) - 15);
    start[at.infinite] = Infinity;
    start[at.negative] = -Infinity;
    start[at.none] = NaN;
    const p = new nn.Parameter(tensorFromBytes(start, "float32", [777]));
    p.grad = tensorFromBytes(
      Float32Array.from({ length: 777 }, (_, i) => (i % 7) / 2),
      "float32",
      [777],
    );
    const wanted = FORMATS.dynamic8.quantize(p.detach().add(p.grad), { signed: true, blockSize: 256 });
    const optimizer = new SGD8bit([p], { lr: 0.125, weightDecay: 1, min8bitSize: 1 });
    optimizer.step();
    const state = optimizer.state.get(p);
    assert.deepEqual((state?.["absmax1"] as Tensor).tolist(), wanted.absmax.tolist());
    const codes = (state?.["state1"] as Tensor).tolist() as number[];
    assert.deepEqual(codes, wanted.codes.tolist());
    assert.deepEqual([codes[at.infinite], codes[at.negative], codes[at.none]], [255, 0, 127]);
  },
);

everyTable("a step from codes: parameter and states of the reference, over whole and ragged blocks", () => {
  seedEverything(5);
  const [p, q] = [new nn.Parameter(randn([5003]).mul(0.1)), new nn.Parameter(zeros([5003]))];
  q.detach().copy_(p.detach());
  // 1 - β has to be the same in float32 and float64.
  const [fused, plain] = [p, q].map(
    (x) => new AdamW8bit([x], { betas: [0.75, 0.96875], weightDecay: 0.1, min8bitSize: 1 }),
  ) as [AdamW8bit, AdamW8bit];
  Object.defineProperty(plain, "family", { value: { ...plain.family, fused: null } });
  const read = (o: LowBitOptimizer, x: Tensor, name: string): Tensor => o.state.get(x)?.[name] as Tensor;
  for (let step = 0; step < 4; step++)
    scope(() => {
      // Gradients over ten decades: small second moments beside large ones, some of which keep a code above zero only
      // because they are positive.
      p.grad = randn([5003])
        .mul(randn([5003]).mul(5).exp())
        .mul(1e-3);
      q.grad = p.grad.clone();
      fused.step();
      plain.step();
      const error = p.detach().sub(q.detach()).abs().max().item();
      assert.ok(error < 1e-6, `parameters: ${error}`);
      for (const i of [1, 2]) {
        const ratio = read(fused, p, `absmax${i}`)
          .div(read(plain, q, `absmax${i}`))
          .sub(1)
          .abs()
          .max()
          .item();
        assert.ok(ratio < 1e-6, `absmax${i}: ${ratio}`);
        const apart = read(fused, p, `state${i}`)
          .float()
          .sub(read(plain, q, `state${i}`).float())
          .abs();
        // A sum that is rounded once instead of twice may fall to the other side of a midpoint.
        assert.ok(apart.max().item() <= 1 && apart.sum().item() <= 5, `state${i}: ${apart.sum().item()} codes differ`);
        read(fused, p, `absmax${i}`).copy_(read(plain, q, `absmax${i}`));
        read(fused, p, `state${i}`).copy_(read(plain, q, `state${i}`));
      }
      p.detach().copy_(q.detach());
    });
});

/**
 * Blocks of 256: around every midpoint of a map times the block's largest number, which stands at another place in
 * each. The largest numbers are of every size.
 */
function nearMidpoints(map: readonly number[], largest: readonly number[]): Float32Array {
  const values = map.map(Math.fround);
  const midpoints = values.slice(1).map((v, i) => Math.fround(Math.fround(v + (values[i] as number)) * 0.5));
  const blocks = largest.flatMap((d) => {
    const x = around(midpoints.map((m) => m * d)).filter((v) => Math.abs(v) <= Math.fround(d));
    return Array.from({ length: Math.ceil(x.length / 255) }, (_, row) => {
      const block = [...x.subarray(row * 255, row * 255 + 255)];
      block.splice((row * 37) % 256, 0, d);
      return [...block, ...Array.from({ length: 256 - block.length }, () => 0)];
    });
  });
  return Float32Array.from(blocks.flat());
}
const SIZES = [1, 0.7, 1.9999998, 3.3e-5, 7.7e5, 2 ** -63 * 1.1, 1.3e-38, 1e-41, 2 ** 126, 3.3e38];
everyTable("codes of a range of blocks, near every midpoint times a largest number of any size at any place", () => {
  for (const signed of [true, false]) {
    const x = nearMidpoints(dynamicMap(signed), SIZES);
    // A block that is not finite between others, blocks of zeros, and an end that is no whole block.
    x.set([NaN, Infinity, -Infinity], 256 * 7 + 30);
    x.fill(0, 256 * 9, 256 * 11);
    x.set([-0, 0, -1e-45, 1e-45], 256 * 12);
    const values = tensorFromBytes(x.slice(0, x.length - 100), "float32", [x.length - 100]);
    equalCodes(signed ? values : values.abs(), "dynamic8", signed, 256, signed ? "signed" : "unsigned");
    if (!signed) equalCodes(values, "dynamic8", false, 256, "unsigned, of negative numbers too");
  }
  // The state of SGD's first step is the gradient, that of Adagrad's its square.
  const kept = (optimizer: LowBitOptimizer, p: nn.Parameter): Tensor[] =>
    ["state1", "absmax1"].map((name) => optimizer.state.get(p)?.[name] as Tensor);
  const finite = (x: Float32Array): Float32Array => x.map((v) => (Number.isFinite(v) ? v : 0));
  for (const blockSize of [256, 64, 320]) {
    const x = finite(nearMidpoints(dynamicMap(true), SIZES)),
      n = x.length - 100;
    const p = new nn.Parameter(zeros([n]));
    p.grad = tensorFromBytes(x.slice(0, n), "float32", [n]);
    const sgd = new SGD8bit([p], { lr: 0, min8bitSize: 1, blockSize });
    sgd.step();
    const wanted = FORMATS.dynamic8.quantize(p.grad, { signed: true, blockSize });
    assert.deepEqual(
      kept(sgd, p).map((t) => t.tolist()),
      [wanted.codes.tolist(), wanted.absmax.tolist()],
      `signed, blocks of ${blockSize}`,
    );
  }
  const roots = nearMidpoints(dynamicMap(false), [1, 0.7, 3.3e-5, 7.7e5, 1.3e-38, 2 ** 126]).map((v) =>
    Math.sqrt(Math.abs(v)),
  );
  for (const keepPositive of [true, false]) {
    const q = new nn.Parameter(zeros([roots.length]));
    q.grad = tensorFromBytes(roots, "float32", [roots.length]);
    const adagrad = new Adagrad8bit([q], { lr: 0, min8bitSize: 1, keepPositive });
    adagrad.step();
    const wanted = FORMATS.dynamic8.quantize(q.grad.mul(q.grad), { signed: false, blockSize: 256, keepPositive });
    assert.deepEqual(
      kept(adagrad, q).map((t) => t.tolist()),
      [wanted.codes.tolist(), wanted.absmax.tolist()],
      `squares, keepPositive ${keepPositive}`,
    );
  }
});

everyTable("every family over a range of blocks equals it over one block after the other, bit for bit", () => {
  seedEverything(23);
  const [blocks, n] = [9, 256];
  for (const name of [
    "Adam8bit",
    "AdamW8bit",
    "Lion8bit",
    "SGD8bit",
    "RMSprop8bit",
    "Adagrad8bit",
    "AdEMAMix8bit",
  ] as const) {
    const start = randn([blocks * n]);
    const whole = new nn.Parameter(start.clone());
    const parts = Array.from(
      { length: blocks },
      (_, i) => new nn.Parameter(start.slice(0, i * n, (i + 1) * n).clone()),
    );
    const options = { lr: 0.01, weightDecay: 0.1, min8bitSize: 1 };
    const [together, apart] = [new lowbit[name]([whole], options), new lowbit[name](parts, options)];
    for (let step = 0; step < 4; step++)
      scope(() => {
        const scale = randn([blocks, 1]).mul(6).exp();
        const grad = randn([blocks, n]).mul(scale).view([-1]);
        // Gradients that are not finite, in one block; none at all in another.
        if (step === 2)
          for (const [at, value] of [
            [3 * n + 5, NaN],
            [3 * n + 77, Infinity],
            [3 * n + 200, -Infinity],
          ] as const)
            grad.slice(0, at, at + 1).fill_(value);
        grad.slice(0, 6 * n, 7 * n).zero_();
        whole.grad = grad;
        parts.forEach((part, i) => (part.grad = grad.slice(0, i * n, (i + 1) * n).clone()));
        together.step();
        apart.step();
        parts.forEach((part, i) => {
          assert.equal(
            part
              .detach()
              .ne(whole.detach().slice(0, i * n, (i + 1) * n))
              .sum()
              .item(),
            0,
            `${name}, step ${step}, block ${i}: parameters`,
          );
          for (const [key, value] of Object.entries(apart.state.get(part) ?? {}))
            if (/^(state|absmax)\d$/.test(key)) {
              const [a, b] = [value as Tensor, together.state.get(whole)?.[key] as Tensor];
              const size = a.numel();
              assert.equal(
                a
                  .ne(b.slice(0, i * size, (i + 1) * size))
                  .sum()
                  .item(),
                0,
                `${name}, step ${step}, block ${i}: ${key}`,
              );
            }
        });
      });
  }
});
