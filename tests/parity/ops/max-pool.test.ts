/** Our kernel of max pooling against the definition, with ties, NaN, infinities and windows that it leaves to libtorch. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { aten, manualSeed, maxPool2d, randint, randn, tensor, Tensor } from "@nbit/torch";

/** Values and indices as libtorch's loop finds them: the first of the largest, the last NaN. */
function plain(x: Tensor): { readonly values: number[]; readonly indices: number[] } {
  const [n = 0, c = 0, h = 0, w = 0] = x.shape;
  const data = x.contiguous().flatten().tolist() as number[];
  const values: number[] = [];
  const indices: number[] = [];
  for (let p = 0; p < n * c; p++)
    for (let i = 0; i + 1 < h; i += 2)
      for (let j = 0; j + 1 < w; j += 2) {
        let best = i * w + j;
        let largest = -Infinity;
        for (const at of [i * w + j, i * w + j + 1, (i + 1) * w + j, (i + 1) * w + j + 1]) {
          const value = data[p * h * w + at] as number;
          if (value > largest || Number.isNaN(value)) {
            largest = value;
            best = at;
          }
        }
        values.push(largest);
        indices.push(best);
      }
  return { values, indices };
}

function same(x: Tensor): void {
  const both = aten["max_pool2d_with_indices"]?.["default"]?.(x, [2, 2], [2, 2]);
  const [out, indices]: readonly unknown[] = Array.isArray(both) ? both : [];
  assert.ok(out instanceof Tensor && indices instanceof Tensor);
  const expected = plain(x);
  assert.deepEqual(out.flatten().tolist(), expected.values);
  assert.deepEqual(indices.flatten().tolist(), expected.indices);
  assert.deepEqual(maxPool2d(x, [2, 2]).flatten().tolist(), expected.values);
}

test("values and indices, of any width, with an odd row or column left over", () => {
  manualSeed(1);
  for (const shape of [
    [1, 1, 2, 2],
    [2, 3, 4, 6],
    [1, 2, 7, 9],
    [3, 1, 28, 28],
    [1, 4, 6, 66],
    [2, 2, 3, 2],
  ])
    same(randn(shape));
});

test("ties, NaN, infinities and signed zeros", () => {
  manualSeed(2);
  same(randint(0, 3, [2, 2, 8, 34]).to("float32"));
  const odd = [NaN, Infinity, -Infinity, -0, 0, 1];
  const which = randint(0, odd.length, [2, 2, 6, 38]).flatten().tolist() as number[];
  same(
    tensor(
      which.map((i) => odd[i] as number),
      { dtype: "float32" },
    ).view([2, 2, 6, 38]),
  );
  same(tensor(new Array<number>(16).fill(-Infinity), { dtype: "float32" }).view([1, 1, 4, 4]));
});
