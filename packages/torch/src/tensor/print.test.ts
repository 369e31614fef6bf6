import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import fc from "fast-check";
import { arange, rand, zeros } from "../ops/index.js";
import { formatTensor, getPrintOptions, memory, setDefaultDtype, setPrintOptions, tensor } from "./index.js";
import { fixed, scientific } from "./print-number.js";

/** Exact decimal digits of a double, by integers alone: what any correct rounding must start from. */
function exactRounded(value: number, digits: number): string {
  const size = Math.abs(value);
  // size = numerator / 2^shift exactly.
  let shift = 0;
  let whole = size;
  while (!Number.isInteger(whole)) {
    whole *= 2;
    shift++;
  }
  const scaled = BigInt(whole) * 10n ** BigInt(digits);
  const unit = 1n << BigInt(shift);
  let quotient = scaled / unit;
  const rest = (scaled % unit) * 2n;
  if (rest > unit || (rest === unit && quotient % 2n === 1n)) quotient += 1n;
  const text = quotient.toString().padStart(digits + 1, "0");
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  return sign + (digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`);
}

void describe("numbers as Python formats them", () => {
  void it("fixed agrees with exact integer arithmetic", () => {
    const dyadic = fc
      .tuple(fc.integer({ min: -100000, max: 100000 }), fc.integer({ min: 0, max: 12 }))
      .map(([m, e]) => m / 2 ** e);
    fc.assert(
      fc.property(
        fc.oneof(dyadic, fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e25, max: 1e25 })),
        fc.integer({ min: 0, max: 10 }),
        (v, digits) => {
          assert.equal(fixed(v, digits), exactRounded(v, digits));
        },
      ),
      { numRuns: 2000, seed: 3 },
    );
  });
  void it("scientific rounds ties to even and pads the exponent", () => {
    assert.deepEqual(
      [0.5, 1.5, 2.5, 9.5, 0.125, -0, 1e-7, 1.5e300, 12345].map((v) => scientific(v, 0)),
      ["5e-01", "2e+00", "2e+00", "1e+01", "1e-01", "-0e+00", "1e-07", "2e+300", "1e+04"],
    );
    assert.deepEqual(
      [1.03125, 1.09375, 102450, 102550, 5e-324].map((v) => scientific(v, 4)),
      ["1.0312e+00", "1.0938e+00", "1.0245e+05", "1.0255e+05", "4.9407e-324"],
    );
    assert.deepEqual(
      [1.125, 1.375, 1.0625].map((v) => scientific(v, 2)),
      ["1.12e+00", "1.38e+00", "1.06e+00"],
    );
    assert.equal(scientific(Infinity, 4) + fixed(-Infinity, 4) + fixed(NaN, 2), "inf-infnan");
  });
});

void describe("print", () => {
  afterEach(() => {
    setPrintOptions({ profile: "default" });
    setDefaultDtype("float32");
  });

  void it("reads only the edges of a huge tensor", () => {
    // 10^12 elements of one stored value: reading them all could not end.
    const huge = zeros([1]).expand([1000000, 1000000]);
    assert.equal(
      String(huge),
      "tensor([[0., 0., 0.,  ..., 0., 0., 0.],\n        [0., 0., 0.,  ..., 0., 0., 0.],\n        [0., 0., 0.,  ..., 0., 0., 0.],\n        ...,\n        [0., 0., 0.,  ..., 0., 0., 0.],\n        [0., 0., 0.,  ..., 0., 0., 0.],\n        [0., 0., 0.,  ..., 0., 0., 0.]])",
    );
  });
  void it("leaves no tensor behind", () => {
    const t = rand([40, 40]);
    const before = memory().unreleased;
    String(t);
    assert.equal(memory().unreleased, before);
  });
  void it("has options for one call and for all", () => {
    const t = tensor([1.12345, 2]);
    assert.equal(formatTensor(t, { precision: 2 }), "tensor([1.12, 2.00])");
    assert.equal(formatTensor(t), "tensor([1.1235, 2.0000])");
    setPrintOptions({ precision: 1, sciMode: true });
    assert.equal(String(t), "tensor([1.1e+00, 2.0e+00])");
    setPrintOptions({ edgeitems: 1 });
    assert.deepEqual(getPrintOptions(), { precision: 1, threshold: 1000, edgeitems: 1, linewidth: 80, sciMode: null });
    assert.equal(String(arange(2000, { dtype: "int64" })), "tensor([   0,  ..., 1999])");
    assert.throws(() => setPrintOptions({ precision: -1 }), {
      message: "setPrintOptions: expected precision to be a whole number from 0 to 100. Received: -1.",
    });
    assert.throws(() => setPrintOptions({ edgeitems: 1.5 }), { code: "ERR_ARGUMENT" });
  });
  void it("names the dtype unless the default dtype implies it", () => {
    assert.equal(String(tensor([0.5], { dtype: "float64" })), "tensor([0.5000], dtype=torch.float64)");
    setDefaultDtype("float64");
    assert.equal(String(tensor([0.5])), "tensor([0.5000])");
    assert.equal(String(tensor([0.5], { dtype: "float32" })), "tensor([0.5000], dtype=torch.float32)");
  });
  void it("names the node of a view", () => {
    const leaf = tensor([1, 2], { requiresGrad: true });
    assert.equal(String(leaf.mul(2).view([2, 1])), "tensor([[2.],\n        [4.]], grad_fn=<ViewBackward0>)");
  });
});
