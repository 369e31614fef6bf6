/** Two GPUs against one: losses of data-parallel training in every precision, in CUDA graphs, and failures under NCCL. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cuda, device, full, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { DDPStrategy } from "@nbit/lightning";
import { AdamW8bit } from "@nbit/lowbit";
import { SmallGpt, SmallResNet } from "./support.js";
import { runRanks, testRanks, type RankCase } from "../helpers/ranks.js";
import { compare, train, two } from "./two-gpus.js";

const STEPS = 40;

const gpt = (): Tensor[][] => SmallGpt.batches(STEPS, "cpu");
const TOLERANCE = { 32: 2e-5, 64: 1e-11, 16: 2e-2, bf16: 2e-2, "bf16-true": 6e-2 } as const;

const cases: Record<string, RankCase> = {
  "collectives on CUDA": async (rank, world) => {
    cuda.setDevice(device(`cuda:${rank}`));
    for (const dtype of ["float32", "float16", "bfloat16", "float64", "int64"] as const) {
      const t = full([1000], rank + 1, { dtype, device: `cuda:${rank}` });
      dist.allReduce(t);
      assert.equal(t.double().mean().item(), 3);
    }
    const whole = dist.allGather(full([3], rank, { device: `cuda:${rank}` }));
    assert.deepEqual(
      whole.map((t) => t.tolist()),
      [
        [0, 0, 0],
        [1, 1, 1],
      ],
    );
    const part = full([2], 0, { device: `cuda:${rank}` });
    dist.reduceScatterTensor(part, full([4], 1, { device: `cuda:${rank}` }), { op: "avg" });
    assert.deepEqual(part.tolist(), [1, 1]);
    const f8 = full([4], rank + 1, { device: `cuda:${rank}` }).to("float8_e4m3fn");
    dist.broadcast(f8, { src: 1 });
    assert.deepEqual(f8.float().tolist(), [2, 2, 2, 2]);
    const work = dist.allReduce(full([4], 1, { device: `cuda:${rank}` }), { asyncOp: true });
    await work;
    assert.equal(world, 2);
  },
  ...Object.fromEntries(
    ([32, 64, 16, "bf16", "bf16-true"] as const).flatMap((precision) => [
      [
        `GPT, ${precision}`,
        async () =>
          void (await compare(() => new SmallGpt(), gpt(), { precision, gradientClipVal: 1 }, TOLERANCE[precision])),
      ],
      [
        `GPT, ${precision}, two batches to a step`,
        async () =>
          void (await compare(
            () => new SmallGpt(),
            gpt(),
            { precision, accumulateGradBatches: 2 },
            TOLERANCE[precision],
          )),
      ],
      [
        `GPT, ${precision}, in a CUDA graph`,
        async () => {
          if (precision === 64) return; // fused attention has no float64
          const { trainer } = await compare(
            () => new SmallGpt(),
            gpt(),
            { precision, cudaGraph: true, gradientClipVal: 1 },
            TOLERANCE[precision],
          );
          assert.ok(trainer.replayedBatches > STEPS / 2, `${trainer.replayedBatches} replayed`);
        },
      ],
    ]) as [string, RankCase][],
  ),
  "ResNet with the statistics of each rank": async () => {
    const { losses } = await train(() => new SmallResNet(), SmallResNet.batches(STEPS, "cpu"), true, {
      precision: "bf16",
    });
    assert.ok((losses.at(-1) ?? NaN) < (losses[0] ?? NaN) / 2, `${losses[0]} … ${losses.at(-1)}`);
  },
  "8-bit AdamW keeps the same state on both ranks": async () => {
    await compare(() => new SmallGpt((p) => new AdamW8bit(p, { lr: 3e-3 })), gpt(), { precision: "bf16" }, 3e-2);
  },
  float8: async () => {
    const { losses } = await train(() => new SmallGpt(), gpt(), true, { precision: "float8" });
    assert.ok((losses.at(-1) ?? NaN) < (losses[0] ?? NaN) / 2, `${losses[0]} … ${losses.at(-1)}`);
  },
  "APEX O2": async () => {
    await compare(() => new SmallGpt(), gpt(), { precision: 16, ampBackend: "apex", ampLevel: "O2" }, 3e-2);
  },
  "gradients in bfloat16 and by PowerSGD": async (rank) => {
    const where = device(`cuda:${rank}`);
    await compare(
      () => new SmallGpt(),
      gpt(),
      { precision: 32, strategy: new DDPStrategy(where, { reduceDtype: "bfloat16" }) },
      3e-2,
    );
    await compare(
      () => new SmallGpt(),
      gpt(),
      { precision: 32, strategy: new DDPStrategy(where, { commHook: "fp16_compress" }) },
      3e-2,
    );
    const power = new DDPStrategy(where, { commHook: "powerSGD", powerSGDRank: 4 });
    const { losses } = await train(() => new SmallGpt(), gpt(), true, { precision: 32, strategy: power });
    assert.ok((losses.at(-1) ?? NaN) < (losses[0] ?? NaN) / 2);
  },
};

const role = process.env["NBIT_TEST_FAIL"];
if (role !== undefined) await failing(role);
else if (two || process.env["NBIT_TEST_RANK_OF"] !== undefined) {
  testRanks(import.meta.url, 2, cases);
  for (const how of ["killed", "stopped", "throws", "endless"])
    test(`a rank that is ${how} is an error on the other, and no process is left`, async () => {
      const [zero, one] = await runRanks(fileURLToPath(import.meta.url), 2, { env: { NBIT_TEST_FAIL: how } });
      assert.match(
        zero?.stdout ?? "",
        /caught ERR_DIST_(PEER_LOST|PEER_FAILED|TIMEOUT).*rank 1/,
        `${zero?.stdout}\n${zero?.stderr}`,
      );
      assert.equal(zero?.code, 3);
      if (how === "endless") assert.match(zero.stdout, /ERR_DIST_TIMEOUT/);
      assert.ok(one?.signal === "SIGKILL" || one?.code !== 0);
    });
} else test("two GPUs", { skip: "needs two CUDA devices" }, () => undefined);

/** Rank 1 fails in a loop of all-reduces that rank 0 reads the results of. */
async function failing(how: string): Promise<void> {
  await dist.initProcessGroup({ heartbeatTimeout: 3000, timeout: 5000 });
  const rank = dist.getRank();
  cuda.setDevice(device(`cuda:${rank}`));
  try {
    for (let i = 0; i < 1000; i++) {
      dist.setStep(i);
      if (rank === 1 && i === 20) {
        if (how === "killed") process.kill(process.pid, "SIGKILL");
        if (how === "stopped") {
          setTimeout(() => undefined, 1);
          const { spawn } = await import("node:child_process");
          spawn("sh", ["-c", `sleep 15; kill -9 ${process.pid}`], { detached: true, stdio: "ignore" }).unref();
          process.kill(process.pid, "SIGSTOP");
        }
        if (how === "throws") throw new Error("of my own");
        if (how === "endless") {
          setTimeout(() => process.exit(9), 40_000);
          await new Promise(() => undefined);
        }
      }
      const t = full([1 << 20], 1, { device: `cuda:${rank}` });
      dist.allReduce(t);
      t.sum().item();
    }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    console.log(`caught ${code}: ${message}`);
    dist.reportFailure(message);
    process.exit(3);
  }
}
