/** Ranks of worlds that are not there: what they call for and hold, by a step on "meta" and by a plan. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nn } from "@nbit/torch";
import { isInitialized, planShards, simulateRanks } from "@nbit/torch/distributed";
import { forecastRank } from "@nbit/lightning";
import { Gpt, gptStep, type Shape } from "./simulation.js";

const SMALL: Shape = { layers: 3, width: 128, heads: 4, vocabulary: 512, length: 32 };
const all = new Gpt(SMALL).parameters().reduce((n, p) => n + p.numel(), 0);

test("ranks of 1024 under fsdp: every unit is gathered for forward and backward, and reduced once", async () => {
  const ranks = await simulateRanks(() => gptStep(SMALL), { worldSize: 1024 });
  assert.deepEqual(
    ranks.map(({ rank }) => rank),
    [0, 1, 511, 1023],
  );
  const count = (kind: string, dtype: string): number =>
    ranks[0]?.collectives.find((c) => c.kind === kind && c.dtype === dtype)?.count ?? 0;
  const units = SMALL.layers + 1;
  assert.equal(count("reduce_scatter_into", "float32"), units);
  // The last block's parameters stay for its backward, from the second step on; the root's in every one.
  assert.equal(count("all_gather_into", "float32"), 2 * units - 1);
  assert.equal(count("all_reduce_", "uint8"), 1);
  for (const { collectives } of ranks) assert.deepEqual(collectives, ranks[0]?.collectives);
  assert.equal(isInitialized(), false);
});

test("what simulated ranks hold is what is planned for them, in every stage", async () => {
  for (const stage of [1, 2, 3] as const) {
    const plan = planShards(new Gpt(SMALL), 64, { stage });
    assert.equal(
      plan.ranks.reduce((n, { elements }) => n + elements, 0),
      all,
    );
    for (const held of await simulateRanks(() => gptStep(SMALL), { worldSize: 64, stage })) {
      const { elements = NaN } = plan.ranks[held.rank] ?? {};
      assert.equal(held.gradients, 4 * elements);
      assert.equal(held.parameters, 4 * (stage === 3 ? elements : all));
      const moments = 2 * held.gradients;
      assert.ok(held.optimizerState - moments >= 0 && held.optimizerState - moments < 4 * 100, `stage ${stage}`);
      const { module, optimizer } = gptStep(SMALL);
      const forecast = forecastRank(module, [optimizer], { strategy: "fsdp", worldSize: 64, stage, rank: held.rank });
      assert.equal(forecast.optimizerState, moments);
    }
  }
});

test("under ddp every rank holds everything, and gradients travel once", async () => {
  const [held] = await simulateRanks(() => gptStep(SMALL), { worldSize: 512, ranks: [7], strategy: "ddp" });
  assert.equal(held?.parameters, 4 * all);
  assert.equal(held.gradients, 4 * all);
  const [call] = held.collectives.filter(({ kind }) => kind === "all_reduce_");
  assert.equal(call?.bytes, 4 * all);
});

test("what cannot be simulated is refused", async () => {
  await assert.rejects(
    simulateRanks(() => gptStep(SMALL), { worldSize: 4, ranks: [4] }),
    { code: "ERR_ARGUMENT" },
  );
  const onCpu = (): ReturnType<typeof gptStep> => ({ ...gptStep(SMALL), module: new nn.Linear(2, 2) });
  await assert.rejects(simulateRanks(onCpu, { worldSize: 4 }), { code: "ERR_ARGUMENT" });
  assert.equal(isInitialized(), false);
  const { module } = gptStep(SMALL);
  assert.throws(() => forecastRank(module, [], { strategy: "ddp", worldSize: 2, rank: 2 }), { code: "ERR_ARGUMENT" });
});
