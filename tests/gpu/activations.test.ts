/** Activations that are not kept on the GPU: computed again, or in the memory of the CPU until backward. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast, checkpoint, cuda, gelu, manualSeed, nn, randn, saveOnCpu, scope, type Tensor } from "@nbit/torch";
import { options, where } from "./support.js";

const ROWS = 4096;
const WIDTH = 256;
const BLOCKS = 6;

class Block extends nn.Module {
  readonly norm = new nn.LayerNorm([WIDTH]);
  readonly fc1 = new nn.Linear(WIDTH, 4 * WIDTH);
  readonly fc2 = new nn.Linear(4 * WIDTH, WIDTH);
  readonly drop = new nn.Dropout(0.1);
  forward(x: Tensor): Tensor {
    return this.drop.forward(this.fc2.forward(gelu(this.fc1.forward(this.norm.forward(x))))).add(x);
  }
}

interface Outcome {
  readonly gradients: readonly string[];
  readonly random: unknown;
  /** Bytes that forward leaves for backward, and the most that both hold. */
  readonly held: number;
  readonly peak: number;
}
function step(forward: (blocks: readonly Block[], x: Tensor) => Tensor): Outcome {
  manualSeed(1);
  const blocks = Array.from({ length: BLOCKS }, () => new Block());
  for (const block of blocks) block.to({ device: where });
  return scope(() => {
    const x = randn([ROWS, WIDTH], { device: where });
    cuda.synchronize();
    cuda.resetPeakMemoryStats();
    const before = cuda.memoryStats().allocated;
    const loss = scope(() => forward(blocks, x).square().mean());
    cuda.synchronize();
    const held = cuda.memoryStats().allocated - before;
    loss.backward();
    const gradients = blocks
      .flatMap((block) => block.parameters())
      .map((p) => Buffer.from((p.grad as Tensor).toBytes()).toString("base64"));
    const { peakAllocated } = cuda.memoryStats();
    return { gradients, random: randn([3], { device: where }).tolist(), held, peak: peakAllocated - before };
  });
}
const plainly = (blocks: readonly Block[], x: Tensor): Tensor => blocks.reduce((h, block) => block.forward(h), x);

for (const [name, within] of [
  ["float32", (fn: () => Tensor): Tensor => fn()],
  ["bfloat16", (fn: () => Tensor): Tensor => autocast({ deviceType: "cuda", dtype: "bfloat16" }, fn)],
] as const)
  test(`gradients are the same to the last bit, and less is held: ${name}`, options, () => {
    const expected = step((blocks, x) => within(() => plainly(blocks, x)));
    const ways: Readonly<Record<string, (blocks: readonly Block[], x: Tensor) => Tensor>> = {
      checkpoint: (blocks, x) =>
        within(() => blocks.reduce((h, block) => checkpoint((y: Tensor) => block.forward(y), h), x)),
      saveOnCpu: (blocks, x) => saveOnCpu(() => within(() => plainly(blocks, x))),
      "saveOnCpu, pageable": (blocks, x) => saveOnCpu(() => within(() => plainly(blocks, x)), { pinMemory: false }),
    };
    for (const [way, forward] of Object.entries(ways)) {
      const { gradients, random, held, peak } = step(forward);
      assert.deepEqual(gradients, expected.gradients, way);
      assert.deepEqual(random, expected.random, way);
      assert.ok(held < 0.6 * expected.held, `${way}: ${held} of ${expected.held}`);
      assert.ok(peak < 0.95 * expected.peak, `${way}: ${peak} of ${expected.peak}`);
    }
  });
