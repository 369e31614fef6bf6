import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cat,
  memory,
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
import {
  dequantizeBlockwise,
  dynamicMap,
  dynamicMap4,
  FORMATS,
  linearMap,
  quantizeBlockwise,
  type FormatName,
  type Quantized,
} from "./index.js";

test("the dynamic maps have their published values", () => {
  const signed = dynamicMap(true);
  const unsigned = dynamicMap(false);
  for (const map of [signed, unsigned]) {
    assert.equal(map.length, 256);
    map.slice(1).forEach((v, i) => assert.ok(v > (map[i] as number), `ascending at ${i}`));
    assert.equal(map[255], 1);
  }
  assert.equal(signed[127], 0);
  assert.equal(unsigned[0], 0);
  assert.equal(signed[126], -(signed[128] as number));
  assert.ok(Math.abs((signed[128] as number) - 0.55e-6) < 1e-12);
  assert.equal(dynamicMap4(true).length, 16);
  assert.equal(dynamicMap4(false).length, 16);
  for (const bits of [4, 8] as const)
    for (const sign of [true, false]) {
      const map = linearMap(sign, bits);
      assert.equal(map.length, 2 ** bits);
      map
        .slice(1)
        .forEach((v, i) =>
          assert.ok(Math.abs(v - (map[i] as number) - (sign ? 2 : 1) / 2 ** bits) < 1e-15, "evenly spaced"),
        );
      assert.equal(map.at(-1), 1);
      assert.equal(map[sign ? 2 ** (bits - 1) - 1 : 0], sign ? 0 : 2 ** -bits);
    }
});

const equalCodes = (x: Tensor, signed: boolean, blockSize: number): void =>
  scope(() => {
    for (const format of ["dynamic8", "linear8"] as const) {
      const fused = quantizeBlockwise(x, { signed, blockSize, format });
      const plain = FORMATS[format].quantize(x, { signed, blockSize });
      assert.equal(fused.absmax.ne(plain.absmax).sum().item(), 0, "absmax");
      const different = fused.codes.ne(plain.codes);
      assert.equal(
        different.sum().item(),
        0,
        `${format}: codes differ, first at ${different.view([-1]).to("uint8").argmax().item()}`,
      );
      assert.ok(
        dequantizeBlockwise(fused, { signed, format }).equal(FORMATS[format].dequantize(plain, signed)),
        `${format}: values`,
      );
    }
  });

test("the fused kernel and the reference agree code for code", () => {
  seedEverything(0);
  for (const signed of [true, false])
    for (const blockSize of [256, 64, 100]) {
      scope(() => {
        const x = randn([300_001]);
        equalCodes(signed ? x : x.abs(), signed, blockSize);
        equalCodes(x.mul(1e-30), signed, blockSize);
        equalCodes(x.mul(x).mul(x).mul(x).mul(1e-3), signed, blockSize);
      });
    }
  // Every upper half of a float, so that each bin of the look-up is visited at both ends: denormals, infinities and NaN
  // among them.
  scope(() => {
    const bits = new Uint32Array(65536 * 2);
    for (let i = 0; i < 65536; i++) {
      bits[2 * i] = i << 16;
      bits[2 * i + 1] = (i << 16) | 0xffff;
    }
    const all = tensorFromBytes(bits, "float32", [bits.length]);
    // One block each with a 1 in it, so that values up to 1 are themselves.
    const inside = all.where(all.abs().le(1), zeros([]));
    const rows = cat([inside.slice(0, 0, 514 * 255).view([-1, 255]), tensor([1]).expand([514, 1])], 1).contiguous();
    equalCodes(rows, true, 256);
    equalCodes(all, true, 256);
    equalCodes(all, false, 256);
  });
});

/** A million values of one kind, by number. */
function chunk(kind: number): Tensor {
  const n = 1_000_000;
  const x = randn([n]);
  const some = (one: number): Tensor => randint(0, one, [n]).eq(0);
  switch (kind % 5) {
    case 0: // normal numbers
      return x;
    case 1: // zeros, infinities and NaN among them; some blocks have nothing else
      return x
        .where(some(50).logicalNot(), tensor(Infinity))
        .where(some(50).logicalNot(), tensor(-Infinity))
        .where(some(50).logicalNot(), tensor(NaN))
        .where(some(3).logicalNot(), zeros([]))
        .where(
          randint(0, 3, [n / 5000, 1])
            .expand([n / 5000, 5000])
            .reshape([n])
            .ge(1),
          zeros([]),
        );
    case 2: // seven decades and more in every block
      return x.mul(randn([n]).mul(6).exp());
    case 3: // tiny: the smallest normal numbers and denormals, scaled by a denormal
      return x.mul(1e-39);
    default: // denormals and the tiniest beside ordinary ones
      return x.mul(some(2).float()).add(x.mul(2 ** -120).mul(2 ** -25));
  }
}
test("the fused kernels and the references agree code for code on ten million values of every kind", () => {
  seedEverything(4);
  const bytes = (q: Quantized): Tensor => q.codes.view("uint8");
  for (const format of ["dynamic8", "linear8", "moments4", "float8"] as const)
    for (let i = 0; i < 10; i++)
      scope(() => {
        const signed = i < 5;
        const options = { signed, format, blockSize: [256, 64, 100, 4096, 128][(i + (signed ? 0 : 2)) % 5] as number };
        const values = chunk(i);
        const x = signed ? values : values.abs();
        const [fused, plain] = [quantizeBlockwise(x, options), FORMATS[format].quantize(x, options)];
        const what = `${format}, chunk ${i}`;
        assert.equal(fused.absmax.ne(plain.absmax).sum().item(), 0, `${what}: absmax`);
        assert.equal(bytes(fused).ne(bytes(plain)).sum().item(), 0, `${what}: codes`);
        assert.ok(
          bytes(fused)
            .ne(bytes(fused).slice(0, 0, 1))
            .sum()
            .item() > 1000,
          `${what}: more than one code`,
        );
      });
});

test("quantizing normal values has the known error", () => {
  scope(() => {
    seedEverything(1);
    const x = randn([1024, 1024]);
    const error = dequantizeBlockwise(quantizeBlockwise(x)).sub(x).abs().mean().item();
    assert.ok(error <= 0.011, `mean error ${error}`);
    const limits: Readonly<Partial<Record<FormatName, number>>> = {
      linear8: 0.006,
      dynamic4: 0.2,
      linear4: 0.12,
      float8: 0.03,
    };
    for (const [format, limit] of Object.entries(limits) as [FormatName, number][]) {
      const q = quantizeBlockwise(x, { format, blockSize: 128 });
      const e = dequantizeBlockwise(q, { format }).sub(x).abs().mean().item();
      assert.ok(e <= limit, `${format}: ${e}`);
    }
    assert.equal(quantizeBlockwise(x, { format: "linear4" }).codes.numel(), x.numel() / 2);
  });
});

test("quantizing takes ragged blocks, zeros, infinities, other dtypes and empty tensors", () => {
  scope(() => {
    const x = randn([3, 7, 13]);
    const q = quantizeBlockwise(x, { blockSize: 100 });
    assert.deepEqual(q.absmax.shape, [3]);
    assert.deepEqual(dequantizeBlockwise(q).shape, [3, 7, 13]);
    assert.equal(
      dequantizeBlockwise(quantizeBlockwise(zeros([500])))
        .abs()
        .max()
        .item(),
      0,
    );
    for (const format of Object.keys(FORMATS) as FormatName[]) {
      const sparse = x.where(x.gt(0.5), zeros([]));
      assert.equal(
        dequantizeBlockwise(quantizeBlockwise(sparse, { format }), { format })
          .where(sparse.eq(0), zeros([]))
          .abs()
          .max()
          .item(),
        0,
        `${format}: what is zero stays zero beside what is not`,
      );
      assert.deepEqual(
        quantizeBlockwise(x, { format }).absmax.shape,
        [Math.ceil((3 * 7 * 13) / (FORMATS[format].bits === 4 ? 128 : 256))],
        `${format}: the usual block`,
      );
    }
    const odd = tensor([1, Infinity, -Infinity, NaN, 0.5]);
    assert.deepEqual(dequantizeBlockwise(quantizeBlockwise(odd)).slice(0, 0, 4).tolist(), [
      1,
      1,
      Math.fround(dynamicMap(true)[0] as number),
      0,
    ]);
    for (const dtype of ["bfloat16", "float16"] as const)
      assert.equal(
        quantizeBlockwise(x.to(dtype))
          .codes.ne(quantizeBlockwise(x.to(dtype).to("float32")).codes)
          .sum()
          .item(),
        0,
      );
    assert.equal(quantizeBlockwise(zeros([0])).absmax.numel(), 0);
    for (const format of ["dynamic4", "linear4", "float8"] as const)
      assert.deepEqual(dequantizeBlockwise(quantizeBlockwise(x, { format }), { format }).shape, [3, 7, 13]);
  });
});

test("bad input is refused, and nothing is left behind", () => {
  const before = memory().unreleased;
  scope(() => {
    assert.throws(() => quantizeBlockwise(tensor([1n])), /floating point/);
    for (const blockSize of [0, 1.5, 5000])
      assert.throws(
        () => quantizeBlockwise(zeros([4]), { blockSize }),
        /blockSize to be a whole number from 1 to 4096/,
      );
    const quantize = operators("nbit")["quantize_blockwise"];
    assert.throws(() => quantize?.(zeros([4]), zeros([300]), 256), /map to be 2 to 256/);
    assert.throws(() => quantize?.(zeros([4], { dtype: "int64" }), zeros([256]), 256), /float32, bfloat16 or float16/);
  });
  assert.equal(memory().unreleased, before);
});
