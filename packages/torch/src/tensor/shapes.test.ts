/**
 * Shapes that the compiler knows. What it must refuse is marked; that these programs compile at all is most of the test.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { matmul, nn, ones, TorchError, type Dim, type Same, type Tensor } from "../index.js";

/** Compiles where two types are one. */
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <T extends true>(...given: readonly T[]): void => assert.equal(given.length, 0);

const image: Tensor<["B", 784], "float32"> = ones([2, 784]);
const weight: Tensor<[784, 10], "float32"> = ones([784, 10]);

test("plain tensors go where shapes are wanted, and the other way round", () => {
  const plain: Tensor = image;
  const again: Tensor<["B", 784]> = plain;
  const other: Tensor<["B", 784], "float32"> = again;
  assert.equal(other, image);
  // @ts-expect-error another size
  const wrong: Tensor<["B", 10]> = image;
  // @ts-expect-error another dtype
  const half: Tensor<["B", 784], "float16"> = image;
  // @ts-expect-error another name
  const batch: Tensor<["N", 784]> = image;
  assert.equal(new Set<unknown>([wrong, half, batch]).size, 1);
});

test("products", () => {
  const logits = image.matmul(weight);
  holds<Equal<typeof logits, Tensor<readonly ["B", 10], "float32">>>();
  holds<Equal<ReturnType<typeof matmul<Tensor, Tensor>>, Tensor>>();
  const batched = (ones([3, 2, 784]) as Tensor<["H", "B", 784], "float32">).matmul(weight);
  holds<Equal<typeof batched, Tensor<readonly ["H", "B", 10], "float32">>>();
  const vector = image.mm(ones([784, 1]));
  assert.deepEqual(vector.shape, [2, 1]);
  assert.deepEqual(
    [logits.shape, batched.shape],
    [
      [2, 10],
      [3, 2, 10],
    ],
  );
  // @ts-expect-error 784 columns by 10 rows
  assert.throws(() => image.matmul(logits), TorchError);
  // @ts-expect-error likewise
  assert.throws(() => matmul(image, logits), TorchError);
});

test("views, transposes and what keeps a shape", () => {
  const planes = image.view(-1, 1, 28, 28);
  holds<Equal<typeof planes, Tensor<readonly [Dim, 1, 28, 28], "float32">>>();
  const turned = image.t().relu();
  holds<Equal<typeof turned, Tensor<readonly [784, "B"], "float32">>>();
  const scaled = image.mul(2).sigmoid();
  holds<Equal<typeof scaled, Same<typeof image>>>();
  const list: number[] = [2, 784];
  const unknown = image.reshape(list);
  const any: Tensor<["B", 3]> = unknown;
  assert.deepEqual(
    [planes.shape, turned.shape, scaled.shape, any.shape],
    [
      [2, 1, 28, 28],
      [784, 2],
      [2, 784],
      [2, 784],
    ],
  );
});

test("losses", () => {
  const logits = image.matmul(weight);
  const labels: Tensor<["B"], "int64"> = ones([2], { dtype: "int64" });
  const loss = nn.functional.crossEntropy(logits, labels, { labelSmoothing: 0.1 });
  assert.deepEqual(loss.shape, []);
  assert.deepEqual(nn.functional.crossEntropy(logits, logits.softmax(1)).shape, []);
  assert.deepEqual(nn.functional.mseLoss(logits, ones([2, 10])).shape, []);
  // @ts-expect-error classes for 784 rows
  assert.throws(() => nn.functional.crossEntropy(logits, weight));
  // @ts-expect-error another shape
  assert.throws(() => nn.functional.mseLoss(logits, image));
});

test("layers", () => {
  const [first, last] = [new nn.Linear(784, 32), new nn.Linear(32, 10, { bias: false })];
  const logits = last.forward(first.forward(image).relu());
  holds<Equal<typeof logits, Tensor<readonly ["B", 10], "float32">>>();
  const sizes: { readonly width: number } = { width: 784 };
  const unknown: Tensor<["B", 3]> = new nn.Linear(sizes.width, 3).forward(image);
  const plain: Tensor = new nn.Linear({ inFeatures: 784, outFeatures: 3 }).forward(image);
  assert.deepEqual(
    [logits.shape, unknown.shape, plain.shape],
    [
      [2, 10],
      [2, 3],
      [2, 3],
    ],
  );
  // @ts-expect-error 784 features for 32
  assert.throws(() => last.forward(image), TorchError);
});
