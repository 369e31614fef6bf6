/** Checkpoints of processes that each have a part of the model: whole or in parts, exact, and for any strategy. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DDPStrategy, FSDPStrategy, readCheckpoint, type FSDPOptions, type TrainerOptions } from "@nbit/lightning";
import { consolidateCheckpoint, device, nn, ShardedCheckpoint } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { fingerprint, folderOfAll, run, SaveAfter, type NetOptions } from "./checkpoint-run.js";

const WORLD = 2;
const folder = folderOfAll("ranks-fsdp-checkpoint");
const place = (): { rank: number; world: number } => ({ rank: dist.getRank(), world: WORLD });

interface Setup {
  readonly fsdp?: FSDPOptions;
  readonly trainer?: TrainerOptions;
  readonly net?: NetOptions;
}
const fitted = (
  { fsdp = {}, trainer = {}, net = {} }: Setup,
  more: TrainerOptions,
  ckptPath?: string,
): ReturnType<typeof run> =>
  run({
    ...place(),
    net,
    trainer: { ...trainer, ...more, strategy: new FSDPStrategy(device("cpu"), fsdp) },
    fit: ckptPath === undefined ? {} : { ckptPath },
  });

/** @returns where it is, and the weights of the run that never stopped. */
async function resumesExactly(name: string, batches: number, setup: Setup): Promise<{ path: string; weights: string }> {
  const path = join(folder, `${name}.ckpt`);
  const whole = await fitted(setup, { callbacks: [new SaveAfter(batches, path)] });
  const resumed = await fitted(setup, {}, path);
  assert.deepEqual(resumed.module.losses, whole.module.losses.slice(batches), "losses");
  assert.deepEqual(resumed.module.samples, whole.module.samples.slice(batches), "samples");
  assert.equal(fingerprint(resumed.module), fingerprint(whole.module), "weights and statistics");
  return { path, weights: fingerprint(whole.module) };
}

const cases: Record<string, RankCase> = {
  "one file, within an epoch and within a window, stages 1 to 3": async () => {
    for (const stage of [1, 2, 3] as const) {
      await resumesExactly(`full-${stage}`, 8, { fsdp: { stage } });
      const path = join(folder, `window-${stage}.ckpt`);
      const setup: Setup = { fsdp: { stage }, trainer: { accumulateGradBatches: 3 } };
      if (stage > 1) await resumesExactly(`window-${stage}`, 8, setup);
      else {
        // Whole gradients of a window are averaged earlier than they would have been.
        const whole = await fitted(setup, { callbacks: [new SaveAfter(8, path)] });
        const { losses } = (await fitted(setup, {}, path)).module;
        losses.forEach((loss, i) => assert.ok(Math.abs(loss - (whole.module.losses[8 + i] ?? NaN)) < 1e-5));
        assert.equal(losses.length, 10);
      }
    }
  },
  "in parts, with an optimizer of 8 bits: exact, and one file of them": async (rank) => {
    const fsdp: FSDPOptions = { stateDictType: "sharded" };
    const setup: Setup = { fsdp, net: { optimizer: "AdamW8bit" } };
    const { path, weights } = await resumesExactly("sharded", 8, setup);
    assert.equal(readdirSync(path).length, WORLD + 1);
    using checkpoint = ShardedCheckpoint.open(path);
    assert.ok(checkpoint.names.some((name) => new Set(checkpoint.info(name).parts.map(({ file }) => file)).size > 1));
    const out = join(folder, "consolidated.ckpt");
    if (rank === 0) consolidateCheckpoint(path, out);
    dist.barrier();
    assert.equal(fingerprint((await fitted({ net: { optimizer: "AdamW8bit" } }, {}, out)).module), weights);
    const full = join(folder, "full.ckpt");
    await fitted({ net: { optimizer: "AdamW8bit" } }, { callbacks: [new SaveAfter(8, full)], maxEpochs: 2 });
    const [a, b] = [readCheckpoint(full), readCheckpoint(out)];
    assert.deepEqual(Object.keys(a.stateDict), Object.keys(b.stateDict));
    for (const [name, t] of Object.entries(a.stateDict))
      assert.deepEqual(t.tolist(), b.stateDict[name]?.tolist(), name);
    assert.deepEqual(a.optimizerStates?.[0]?.["paramGroups"], b.optimizerStates?.[0]?.["paramGroups"]);
  },
  "from shards to data parallel and to one process, and back": async (rank) => {
    const setup: Setup = { fsdp: { stateDictType: "sharded" }, net: { noisy: false }, trainer: { precision: 64 } };
    const path = join(folder, "other.ckpt");
    const back = join(folder, "back.ckpt");
    const whole = await fitted(setup, { callbacks: [new SaveAfter(8, path)] });
    const expected = [...whole.module.parameters()].map((p) => p.tolist());
    const assertClose = (module: nn.Module): void =>
      [...module.parameters()].forEach((p, i) => {
        const [a, b] = [p.tolist(), expected[i]].map((list) => [list].flat(3).map(Number));
        a?.forEach((value, k) => assert.ok(Math.abs(value - (b?.[k] ?? NaN)) < 1e-12));
      });
    const options: TrainerOptions = { precision: 64, strategy: new DDPStrategy(device("cpu")) };
    const ddp = await run({
      ...place(),
      net: { noisy: false },
      trainer: { ...options, callbacks: [new SaveAfter(4, back)] },
      fit: { ckptPath: path },
    });
    assertClose(ddp.module);
    assertClose((await fitted(setup, {}, back)).module);
    if (rank === 0)
      assertClose(
        (await run({ rank: 0, world: 1, net: { noisy: false }, trainer: { precision: 64 }, fit: { ckptPath: path } }))
          .module,
      );
    dist.barrier();
  },
  "ranges: a rank reads the elements that it has, and no others": () => {
    using checkpoint = ShardedCheckpoint.open(join(folder, "sharded.ckpt"));
    const module = new nn.Sequential(new nn.Linear(12, 72), new nn.Linear(72, 72));
    dist.fullyShard(module);
    let read = 0;
    const names = new Map([
      ["0.weight", "net.0.weight"],
      ["0.bias", "net.0.bias"],
      ["1.weight", "net.4.weight"],
      ["1.bias", "net.4.bias"],
    ]);
    dist.loadShardedStateDict(module, (key, start, end) => {
      read += end - start;
      return checkpoint.read(`stateDict.${names.get(key)}`, start, end);
    });
    const all = [...dist.fullStateDict(module)];
    for (const [key, t] of all)
      assert.deepEqual(t.tolist(), checkpoint.get(`stateDict.${names.get(key)}`).tolist(), key);
    const total = all.reduce((sum, [, t]) => sum + t.numel(), 0);
    assert.ok(read < total, `${read} of ${total}`);
    assert.equal(
      dist.allGatherObject(read).reduce((a, b) => a + b),
      total,
    );
    dist.unshardModule(module);
  },
};
testRanks(import.meta.url, WORLD, cases);
