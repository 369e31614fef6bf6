import assert from "node:assert/strict";
import { test } from "node:test";
import {
  add,
  ArgumentError,
  cat,
  crossEntropyLoss,
  embedding,
  linear,
  mean,
  randn,
  relu,
  seedEverything,
  tensor,
  TorchError,
  versions,
  zeros,
} from "../index.js";
import type { Tensor } from "../index.js";

const loosely = (fn: object): ((...args: unknown[]) => unknown) => fn as (...args: unknown[]) => unknown;

function fails(run: () => unknown, message: string | RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof ArgumentError, String(error));
    if (typeof message === "string") assert.equal(error.message, message);
    else assert.match(error.message, message);
    return true;
  });
}

test("the argument at fault is named, with what it may be and what was meant", () => {
  const x = zeros([2, 3]);
  const method =
    (name: string) =>
    (...args: unknown[]): unknown =>
      Reflect.apply(Reflect.get(x, name) as () => unknown, x, args);
  fails(
    () => loosely(zeros)([2], { dtype: "half" }),
    'zeros: expected dtype to be a dtype such as "float32", or null. Received: "half". Did you mean "float16"?',
  );
  fails(
    () => loosely(zeros)([2], { dtype: "flaot32" }),
    'zeros: expected dtype to be a dtype such as "float32", or null. Received: "flaot32". Did you mean "float32"?',
  );
  fails(
    () => loosely(zeros)([2], { dtype: 32 }),
    'zeros: expected dtype to be a dtype such as "float32", or null. Received: 32.',
  );
  fails(
    () => loosely(zeros)([2], { requires_grad: true }),
    'zeros: expected the option requiresGrad. Received: "requires_grad".',
  );
  fails(() => method("sum")([1], { keepDim: true }), 'sum: expected the option keepdim. Received: "keepDim".');
  fails(() => method("relu")({ sunshine: 1 }), 'relu: expected no options. Received: "sunshine".');
  fails(() => method("add")(undefined), "add: expected other to be a tensor, or a number. Received: undefined.");
  fails(() => method("add")(null), "add: expected other to be a tensor, or a number. Received: null.");
  fails(() => method("add")([1, 2, 3]), "add: expected other to be a tensor, or a number. Received: [1, 2, 3].");
  fails(() => method("narrow")(0, 0, NaN), "narrow: expected length to be a whole number. Received: NaN.");
  fails(() => method("narrow")(0, 0.5, 1), "narrow: expected start to be a whole number, or a tensor. Received: 0.5.");
  fails(
    () => loosely(cat)([x, 3]),
    "cat: expected tensors to be an array of tensors. Received: [Tensor float32 [2, 3] cpu, 3].",
  );
  fails(
    () => loosely(relu)(x, 3),
    /^relu: expected the arguments of one of its forms\. Received: \[Tensor float32 \[2, 3\] cpu, 3\]\. .* Its forms:\n {2}relu\(Tensor self\) -> Tensor$/s,
  );
  fails(
    () => loosely(add)(),
    /^add: expected the arguments of one of its forms\. Received: \[\]\. .*add\.Tensor\(Tensor self, Tensor other/s,
  );
  fails(() => tensor([1], { dtype: loosely as never }), /^tensor: expected dtype to be a dtype such as .*/);
  for (const name of ["torch.float16", "half", "fp16"])
    fails(
      () => x.to(name as "float16"),
      `to: expected a dtype, a device, options or a tensor. Received: "${name}". Did you mean "float16"?`,
    );
  fails(() => x.to("gpu" as "cpu"), 'to: expected a device such as "cpu", "cuda" or "cuda:0". Received: "gpu".');
});

/** The message of what libtorch throws. */
function thrown(run: () => unknown): string {
  let message = "";
  assert.throws(run, (error) => {
    assert.ok(error instanceof TorchError, String(error));
    ({ message } = error);
    return true;
  });
  return message;
}

test("libtorch's messages keep their words, lose what concerns Python, and say the fix", () => {
  seedEverything(1);
  const x = randn([3, 4]);
  const floats = tensor([0, 1, 2]);
  const labels =
    / Class labels and indices are integers, and numbers become float32: use labels\.long\(\), or tensor\(\[…\], \{ dtype: "int64" \}\)\.$/;
  const calls: readonly (() => Tensor)[] = [
    () => embedding(x, floats),
    () => x.indexSelect(0, floats),
    () => x.gather(1, floats.unsqueeze(1)),
  ];
  for (const call of calls) assert.match(thrown(call), labels);
  assert.equal(crossEntropyLoss(x, floats).item(), crossEntropyLoss(x, floats.long()).item());
  const integers = tensor([[1, 2]], { dtype: "int64" });
  assert.match(
    thrown(() => linear(integers, x.narrow(1, 0, 2))),
    / Integers are not converted by themselves: use x\.float\(\)\.$/,
  );
  assert.match(
    thrown(() => mean(integers)),
    / use x\.float\(\)\.$/,
  );

  const leaf = randn([3], { requiresGrad: true });
  assert.match(
    thrown(() => leaf.add_(1)),
    / Change parameters under noGrad\(\(\) => …\)\.$/,
  );
  assert.match(
    thrown(() => leaf.mul(2).backward()),
    / Reduce it first, for example with mean\(\) or sum\(\), or pass \{ gradient \}\.$/,
  );
  assert.match(
    thrown(() => x.sum().backward()),
    / Nothing that it was made from had requiresGrad: true/,
  );
  const loss = leaf.square().sum();
  loss.backward();
  const again = thrown(() => loss.backward());
  assert.match(again, /Specify \{ retainGraph: true \} if you need to backward through the graph a second time/);
  assert.doesNotMatch(again, /retain_graph|autograd\.grad/);

  const sparse = thrown(() => x.toSparse().softmax(1));
  assert.match(
    sparse,
    /^softmax\.int: Could not run 'aten::\w+' with arguments from the 'SparseCPU' backend: this libtorch has no kernel for it there\. Move the tensor, or change its layout, for this operator\.$/,
  );
  if (versions().cuda) return;
  for (const call of [() => zeros([2], { device: "cuda" }), () => x.to("cuda")]) {
    const message = thrown(call);
    assert.match(message, /\. `npx nbit doctor` shows whether there is a GPU, and what libtorch was built for\.$/);
    assert.ok(message.length < 300, message);
  }
});

test("an array that says it is longer than any list is refused before its elements are read", () => {
  const endless = new Array<number>(2 ** 32 - 1);
  fails(
    () => loosely(cat)(endless),
    /^cat: expected tensors to be an array of at most 16,777,215 elements\. Received: .*4294967295 elements/,
  );
  fails(() => loosely(zeros)(endless), /^zeros: expected size to be an array of at most 16,777,215 elements/);
  fails(() => loosely(zeros)([2], { out: endless }), /^zeros: expected out to be a tensor/);
});
