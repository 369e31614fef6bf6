/** Every tensor is printed as PyTorch printed it, character by character. The fixtures are made by make_fixtures.py. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  aten,
  getPrintOptions,
  setPrintOptions,
  tensorFromBytes,
  type DType,
  type PrintOptions,
  type PrintProfile,
  type Tensor,
} from "@nbit/torch";

interface Case {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: string;
  readonly make: keyof typeof MAKE;
  readonly options?: Partial<Omit<PrintOptions, "threshold">> & {
    readonly threshold?: number | "Infinity";
    readonly profile?: PrintProfile;
  };
  readonly text: string;
}

const MAKE = {
  plain: (t: Tensor) => t,
  leaf: (t: Tensor) => t.requiresGrad_(),
  mul: (t: Tensor) => t.requiresGrad_().mul(1),
  transposed: (t: Tensor) => t.transpose(0, -1),
  strided: (t: Tensor) => t.at("::2"),
  conj: (t: Tensor) => aten["_conj"]!(t),
  sparse: (t: Tensor) => t.toSparse(),
  csr: (t: Tensor) => t.toSparseCsr(),
  meta: (t: Tensor) => t.to("meta"),
  unbind: (t: Tensor) => t.requiresGrad_().unbind()[0] as Tensor,
};

const cases = readFileSync(new URL("../../../parity/print/fixtures.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

void describe("printing as PyTorch prints", () => {
  void it("has the recorded cases", () => {
    assert.ok(cases.length > 200, String(cases.length));
  });
  for (const c of cases) {
    void it(c.name, () => {
      const before = getPrintOptions();
      const { threshold, ...options } = c.options ?? {};
      setPrintOptions(threshold === undefined ? options : { ...options, threshold: Number(threshold) });
      try {
        const t = MAKE[c.make](tensorFromBytes(Buffer.from(c.data, "base64"), c.dtype, c.shape));
        assert.equal(String(t), c.text);
      } finally {
        setPrintOptions(before);
      }
    });
  }
});
