/**
 * Every strategy with every feature, and its variants with some: a run equals one process, or is refused before any
 * step, with the reason. All combinations: npm run test:ranks.
 */
import assert from "node:assert/strict";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { FEATURES, PROBES, TOGETHER } from "./contract/features.js";
import { STRATEGIES, type StrategyRow } from "./contract/strategies.js";
import { agreeing, isRefusal, judge, PLAIN, train, type Combination, type Outcome } from "./contract/training.js";

/** On rank 0, by itself. */
async function alone(combination: Combination): Promise<Outcome> {
  const result = dist.getRank() === 0 ? await train(combination, null) : null;
  const told = dist.broadcastObject(result);
  assert.ok(told !== null && !isRefusal(told), `in one process: ${JSON.stringify(told)}`);
  return told;
}
async function keeps(combination: Combination, strategies: readonly StrategyRow[]): Promise<void> {
  const expected = await alone(combination);
  const broken: string[] = [];
  for (const row of strategies) {
    const result = await train(combination, row);
    const why = agreeing(result) ?? judge(combination, row, result, expected).broken;
    if (why !== null) broken.push(`${row.name} ${why}`);
  }
  assert.deepEqual(broken, []);
}
function withFeatures(names: readonly string[]): Combination {
  const features = names.map((name) => FEATURES.find((feature) => feature.name === name));
  assert.ok(!features.includes(undefined), `features among ${names.join(", ")}`);
  return { ...PLAIN, ...Object.fromEntries(features.map((feature) => [feature?.aspect, feature])) };
}

const cases: Record<string, RankCase> = {};
for (const { name } of FEATURES)
  cases[name] = () =>
    keeps(
      withFeatures([name]),
      STRATEGIES.filter(({ variant }) => !variant || PROBES.includes(name)),
    );
for (const names of TOGETHER)
  cases[names.join(" with ")] = () =>
    keeps(
      withFeatures(names),
      STRATEGIES.filter(({ variant }) => !variant),
    );

testRanks(import.meta.url, 2, cases);
