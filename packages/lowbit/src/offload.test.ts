import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { randn, seedEverything, type Tensor } from "@nbit/torch";
import { AdamW8bit } from "./index.js";

test("offload on the CPU changes nothing, and warns once", async () => {
  seedEverything(31);
  const value = randn([5000]);
  const grad = randn([5000]);
  const make = (offload: boolean): { readonly p: Tensor; readonly o: AdamW8bit } => {
    const p = value.clone().requiresGrad_();
    p.grad = grad.clone();
    return { p, o: new AdamW8bit([p], { offload }) };
  };
  const heard = once(process, "warning");
  const kept = make(false);
  const offloaded = make(true);
  const [warning] = (await heard) as [Error & { code?: string }];
  assert.equal(warning.code, "WARN_OFFLOAD_CPU");
  assert.match(warning.message, /AdamW8bit: offload changes nothing for parameters on the CPU/);
  let more = 0;
  const count = (): void => void more++;
  process.on("warning", count);
  const again = make(true);
  for (const { o } of [kept, offloaded, again]) {
    o.step();
    o.step();
  }
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", count);
  assert.equal(more, 0);
  assert.equal(kept.p.sub(offloaded.p).abs().max().item(), 0);
  assert.throws(() => new AdamW8bit([value.clone().requiresGrad_()], { offload: 1 as unknown as boolean }), {
    code: "ERR_ARGUMENT",
    message: /offload to be true or false/,
  });
});
