/**
 * Tensors of more than 2³¹ elements: what happens to their last blocks is what happens to small tensors. About 13 GiB
 * of memory.
 */
import assert from "node:assert/strict";
import { Adam8bit, dequantizeBlockwise, quantizeBlockwise, type Quantized } from "@nbit/lowbit";
import { nn, randn, scope, seedEverything, zeros, type Tensor } from "@nbit/torch";

const COUNT = 2 ** 31 + 4096 + 77;
/** Where the compared end begins: the start of a block beyond 2³¹, for blocks of 128 and 256. */
const FROM = 2 ** 31 + 2048;

export function beyond32Bits(on: "cpu" | "cuda"): void {
  seedEverything(0);
  const length = COUNT - FROM;
  const numbers = [0, 1, 2].map(() => randn([length]).mul(0.1).to("bfloat16").to(on));
  const large = (end: Tensor): Tensor => {
    const x = zeros([COUNT], { dtype: "bfloat16", device: on });
    x.narrow(0, FROM, length).copy_(end);
    return x;
  };
  const untouched = (x: Tensor): void =>
    assert.ok(
      x.narrow(0, 0, FROM).amax().item() === 0 && x.narrow(0, 0, FROM).amin().item() === 0,
      "elements before the compared ones",
    );

  scope(() => {
    const [p, q] = [new nn.Parameter(large(numbers[0] as Tensor)), new nn.Parameter((numbers[0] as Tensor).clone())];
    const options = { min8bitSize: 1, lr: 0.01, weightDecay: 0.1 };
    const [a, b] = [new Adam8bit([p], options), new Adam8bit([q], options)];
    for (const g of numbers.slice(1))
      scope(() => {
        [p.grad, q.grad] = [large(g), g];
        a.step();
        b.step();
        p.grad = q.grad = null;
      });
    assert.ok(
      p.detach().narrow(0, FROM, length).equal(q.detach()) && !q.detach().equal(numbers[0] as Tensor),
      "parameters",
    );
    untouched(p.detach());
    const [s, t] = [a.state.get(p) ?? {}, b.state.get(q) ?? {}];
    for (const name of ["state1", "state2"])
      assert.ok((s[name] as Tensor).narrow(0, FROM, length).equal(t[name] as Tensor), name);
    for (const name of ["absmax1", "absmax2"]) {
      assert.ok((s[name] as Tensor).narrow(0, FROM / 256, Math.ceil(length / 256)).equal(t[name] as Tensor), name);
      assert.equal(
        (s[name] as Tensor)
          .narrow(0, 0, FROM / 256)
          .amax()
          .item(),
        0,
        name,
      );
    }
    for (const state of [s, t])
      for (const name of ["state1", "state2", "absmax1", "absmax2"]) (state[name] as Tensor).dispose();
  });

  // On a GPU the other formats' plain operators would take five times the memory.
  for (const format of on === "cpu"
    ? (["dynamic8", "linear8", "moments4", "float8"] as const)
    : (["dynamic8", "linear8"] as const))
    scope(() => {
      const x = large(numbers[0] as Tensor);
      const [q, end] = [x, numbers[0] as Tensor].map((t) => quantizeBlockwise(t, { format, blockSize: 256 })) as [
        Quantized,
        Quantized,
      ];
      x.dispose();
      const perByte = format === "moments4" ? 2 : 1;
      assert.ok(
        q.codes
          .view("uint8")
          .narrow(0, FROM / perByte, Math.ceil(length / perByte))
          .equal(end.codes.view("uint8")),
        `${format}: codes`,
      );
      assert.ok(q.absmax.narrow(0, FROM / 256, Math.ceil(length / 256)).equal(end.absmax), `${format}: absmax`);
      const values = dequantizeBlockwise(q, { format });
      assert.ok(values.narrow(0, FROM, length).equal(dequantizeBlockwise(end, { format })), `${format}: values`);
      untouched(values);
    });
}
