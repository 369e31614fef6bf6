/**
 * Runs in every rank: strategies with combinations of features, a line of JSON each. Ends at the first that breaks the
 * contract, since ranks may no longer be at the same place.
 */
import * as dist from "@nbit/torch/distributed";
import { ASPECTS, featuresOf, type Feature } from "./features.js";
import { STRATEGIES } from "./strategies.js";
import { agreeing, isRefusal, judge, nameOf, toleranceOf, train, type Combination, type Result } from "./training.js";

export interface Task {
  /** A case is a combination under a strategy: the number of the one times strategies, and that of the other. */
  readonly cases: readonly number[];
}
export interface Line {
  readonly index: number;
  readonly strategy: string;
  readonly features: string;
  /** In one process: how it was refused; then no strategy is tried. */
  readonly refusedAlone: string | null;
  readonly apart: number | null;
  /** Nothing but the order of sums differs. */
  readonly exact: boolean;
  readonly broken: string | null;
}

function* combinations(): Iterable<Combination> {
  const [precisions, optimizers, gradients, courses] = ASPECTS.map(featuresOf) as [
    Feature[],
    Feature[],
    Feature[],
    Feature[],
  ];
  for (const precision of precisions)
    for (const optimizer of optimizers)
      for (const gradient of gradients)
        for (const course of courses) yield { precision, optimizer, gradients: gradient, course };
}
const ALL = [...combinations()];

/** What one process does, computed by the ranks in turns. */
async function aloneInTurn(combination: Combination, turn: number): Promise<Result> {
  const mine = dist.getRank() === turn % dist.getWorldSize() ? await train(combination, null) : null;
  const [result] = dist.allGatherObject(mine).filter((r) => r !== null);
  if (result === undefined) throw new Error("no rank trained alone");
  return result;
}

export async function runCases({ cases }: Task): Promise<void> {
  await dist.initProcessGroup({ timeout: 60_000, connectTimeout: 120_000 });
  let alone: Result | null = null;
  let of = -1;
  for (const index of cases) {
    const at = Math.floor(index / STRATEGIES.length);
    const [combination, row] = [ALL[at], STRATEGIES[index % STRATEGIES.length]];
    if (combination === undefined || row === undefined) break;
    if (alone === null || of !== at) alone = await aloneInTurn(combination, at);
    of = at;
    const line = {
      index,
      strategy: row.name,
      features: nameOf(combination),
      refusedAlone: null,
      apart: null,
      exact: toleranceOf(combination, row) <= 1e-6,
      broken: null,
    };
    if (isRefusal(alone)) {
      const broken = alone.steps === 0 ? null : `failed in one process after ${alone.steps} steps: ${alone.message}`;
      say({ ...line, refusedAlone: alone.code, broken });
      continue;
    }
    const result = await train(combination, row);
    const verdict = judge(combination, row, result, alone);
    const unequal = agreeing(result);
    say({ ...line, ...verdict, broken: unequal ?? verdict.broken });
    if (unequal !== null || verdict.broken !== null) break;
  }
  await dist.destroyProcessGroup();
}
function say(line: Line): void {
  if (dist.getRank() === 0) console.log(JSON.stringify(line));
}

const [, program, task] = process.argv;
if (program?.endsWith("product.js") === true && task !== undefined) {
  await runCases(JSON.parse(task) as Task);
  process.exit(0);
}
