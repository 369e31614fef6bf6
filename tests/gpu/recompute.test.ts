/** Results of norms and GELU that backward makes again: the same bits, and less memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast, cuda, nn, randn, scope, seedEverything, type Tensor } from "@nbit/torch";
import { options } from "./support.js";

const [ROWS, WIDTH, BLOCKS] = [4096, 256, 4];

class Mlp extends nn.Module {
  readonly norm = new nn.LayerNorm(WIDTH);
  readonly fc = new nn.Linear(WIDTH, 4 * WIDTH);
  readonly out = new nn.Linear(4 * WIDTH, WIDTH);
  forward(x: Tensor, branch: Tensor | null, recompute: boolean, change: (h: Tensor) => void): [Tensor, Tensor] {
    return scope(() => {
      const [sum, normed] = this.norm.addTo(x, branch, { recompute });
      const h = nn.functional.biasGelu(nn.functional.linear(normed, this.fc.weight), this.fc.bias, { recompute });
      change(h);
      return [sum, this.out.forward(h)];
    });
  }
}
interface Outcome {
  readonly gradients: readonly string[];
  /** Bytes that forward leaves for backward. */
  readonly held: number;
}
function step(recompute: boolean, mixed: boolean, change: (h: Tensor) => void = () => undefined): Outcome {
  seedEverything(1);
  const blocks = Array.from({ length: BLOCKS }, () => new Mlp());
  for (const block of blocks) block.to("cuda");
  return scope(() => {
    const x = randn([2, ROWS / 2, WIDTH], { device: "cuda" });
    cuda.synchronize();
    const before = cuda.memoryStats().allocated;
    const loss = scope(() => {
      const forward = (): Tensor => {
        let pair: readonly [Tensor, Tensor | null] = [x, null];
        for (const block of blocks) pair = block.forward(pair[0], pair[1], recompute, change);
        return pair[0]
          .float()
          .add(pair[1] as Tensor)
          .square()
          .mean();
      };
      return mixed ? autocast({ deviceType: "cuda", dtype: "bfloat16", cacheEnabled: false }, forward) : forward();
    });
    const held = cuda.memoryStats().allocated - before;
    loss.backward();
    const gradients = blocks
      .flatMap((b) => b.parameters())
      .map((p) => Buffer.from((p.grad as Tensor).toBytes()).toString("base64"));
    return { gradients, held };
  });
}

for (const mixed of [true, false])
  test(`gradients are the same to the last bit, and less is held: ${mixed ? "bfloat16" : "float32"}`, options, () => {
    const [kept, again] = [step(false, mixed), step(true, mixed)];
    assert.deepEqual(again.gradients, kept.gradients);
    assert.ok(again.held < 0.72 * kept.held, `${again.held} of ${kept.held}`);
  });

test("a hook that changes GELU's gradient is heard", options, () => {
  for (const change of [
    (h: Tensor) => void h.registerHook((g) => g.mul(2)),
    (h: Tensor) => void h.registerHook((g) => void g.mul_(2)),
  ])
    assert.deepEqual(step(true, true, change).gradients, step(false, true, change).gradients);
});

test("a result that was written in place is kept as it is", options, () => {
  const change = (h: Tensor): void => void h.mul_(0.5);
  assert.deepEqual(step(true, true, change).gradients, step(false, true, change).gradients);
});

test("as a CUDA graph: the same bits", options, () => {
  const bits = (recompute: boolean): readonly string[] => {
    seedEverything(4);
    const block = new Mlp().to("cuda");
    const x = randn([2, 512, WIDTH], { device: "cuda" });
    const run = (): void =>
      scope(() => {
        const [sum, branch] = autocast({ deviceType: "cuda", dtype: "bfloat16", cacheEnabled: false }, () =>
          block.forward(x, null, recompute, () => undefined),
        );
        sum.add(branch).square().mean().backward();
      });
    const graph = new cuda.CudaGraph();
    graph.warmUp(() => {
      run();
      run();
    });
    for (const p of block.parameters()) p.grad?.zero_();
    graph.capture(run);
    for (const p of block.parameters()) p.grad?.zero_();
    graph.replay();
    const found = block.parameters().map((p) => Buffer.from((p.grad as Tensor).toBytes()).toString("base64"));
    graph.dispose();
    return found;
  };
  assert.deepEqual(bits(true), bits(false));
});
