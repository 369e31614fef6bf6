/** What `forecastRank` says of a rank is what it holds, within 5 %. */
import assert from "node:assert/strict";
import { manualSeed, memory, nn, optim, randn, scope } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { forecastRank, type RankForecastOptions } from "@nbit/lightning";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";

const WIDTH = 512;
const make = (): nn.Sequential => {
  manualSeed(1);
  return new nn.Sequential(...Array.from({ length: 5 }, () => new nn.Linear(WIDTH, WIDTH)));
};

/** gloo's threads let go of a message a moment after it was waited for. */
async function holds(bytes: number, since: number, what: string): Promise<void> {
  const off = (): number => Math.abs(memory().allocatedBytes - since - bytes) / bytes;
  for (let i = 0; i < 100 && off() > 0.05; i++) await new Promise((done) => setTimeout(done, 20));
  assert.ok(off() <= 0.05, `${what}: ${bytes} bytes forecast, off by ${100 * off()} %`);
}

const cases: Record<string, RankCase> = {};
for (const strategy of ["ddp", "fsdp"] as const)
  for (const stage of strategy === "ddp" ? ([undefined] as const) : ([1, 2, 3] as const))
    cases[`${strategy}${stage === undefined ? "" : `, stage ${stage}`}: before and after the first step`] = async (
      rank,
      worldSize,
    ) => {
      await collectGarbage(); // what cases before this one left
      const since = memory().allocatedBytes;
      const net = make();
      const optimizer = new optim.AdamW(net.parameters());
      const options: RankForecastOptions = { strategy, worldSize, rank, ...(stage === undefined ? {} : { stage }) };
      const forecast = forecastRank(net, [optimizer], options);
      const named = [...net.namedParameters()];
      if (stage !== undefined) {
        dist.fullyShard(net, { stage });
        dist.shardOptimizer(net, optimizer);
      }
      const reducer = stage === undefined ? new dist.Reducer(named) : null;
      if (stage !== undefined) await holds(forecast.parameters, since, "parameters");
      for (let i = 0; i < 3; i++) {
        optimizer.zeroGrad();
        scope(() => {
          reducer?.beforeForward(true);
          const loss = net
            .call(randn([2, WIDTH]))
            .square()
            .mean();
          reducer?.beforeBackward([loss]);
          loss.backward();
          reducer?.afterBackward();
        });
        if (stage !== undefined && i === 0) await holds(forecast.parameters + forecast.gradients, since, "gradients");
        optimizer.step();
      }
      await holds(forecast.total, since, "after steps");
      reducer?.free();
    };

testRanks(import.meta.url, 2, cases);
