/** What is measured besides training steps. */
import { add, nn, noGrad, ones, randn, scope, seedEverything } from "@nbit/torch";
import { median } from "../statistics.js";

/** One `add` of two 4×4 tensors without autograd, the result given back at once: from call to result. */
export function smallAdd(): object {
  const a = ones([4, 4]);
  const b = ones([4, 4]);
  const times: number[] = [];
  let last = 0;
  noGrad(() => {
    for (let chunk = 0; chunk < 60; chunk++) {
      const from = performance.now();
      for (let i = 0; i < 5000; i++) add(a, b).dispose();
      if (chunk >= 20) times.push((performance.now() - from) / 5);
    }
    last = scope(() => add(a, b).sum().item());
  });
  return { us: median(times), losses: [last] };
}

/** Steps of AdamW8bit over ten million elements; the mean parameter afterwards says that both ways computed the same. */
export async function optimizerSteps(reference: boolean): Promise<object> {
  const { AdamW8bit } = await import("@nbit/lowbit");
  seedEverything(0);
  const p = new nn.Parameter(randn([1e7]).mul(0.1));
  p.grad = randn([1e7]).mul(0.01);
  const optimizer = new AdamW8bit([p]);
  if (reference) Object.defineProperty(optimizer, "family", { value: { ...optimizer.family, fused: null } });
  optimizer.step();
  optimizer.step();
  const losses = [p.abs().mean().item()];
  const times: number[] = [];
  for (let i = 0; i < (reference ? 3 : 15); i++) {
    const from = performance.now();
    optimizer.step();
    times.push((performance.now() - from) * 1000);
  }
  return { us: median(times), losses, stateBytes: optimizer.stateBytes() };
}
