/** Strategies with all combinations of features, in an order by seed: each equals one process, or is refused. */
import { fileURLToPath } from "node:url";
import { runRanks } from "../../helpers/ranks.js";
import { ASPECTS, featuresOf } from "../contract/features.js";
import { STRATEGIES } from "../contract/strategies.js";
import type { Line, Task } from "../contract/product.js";
import { random } from "../../helpers/plan-random.js";
import type { Part, PartOptions, PartResult } from "./part.js";

const PROGRAM = fileURLToPath(new URL("../contract/product.js", import.meta.url));
/** Combinations that one pair of processes runs: it ends with the first that breaks the contract. */
const PER_GROUP = 20;
export const COMBINATIONS = ASPECTS.reduce((n, aspect) => n * featuresOf(aspect).length, 1);

/** 0 to n - 1, in an order by seed. */
function shuffled(n: number, seed: number): number[] {
  const draw = random(seed);
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = draw(i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}

async function run({ seed, combinations, say }: PartOptions): Promise<PartResult> {
  const cases = shuffled(COMBINATIONS, seed)
    .slice(0, combinations)
    .flatMap((at) => STRATEGIES.map((_, s) => at * STRATEGIES.length + s));
  const counts = new Map(STRATEGIES.map(({ name }) => [name, { equal: 0, refused: 0, alone: 0, broken: 0, apart: 0 }]));
  const failures: string[] = [];
  for (let done = 0; done < cases.length;) {
    const task: Task = { cases: cases.slice(done, done + PER_GROUP * STRATEGIES.length) };
    const [first, ...others] = await runRanks(PROGRAM, 2, { args: [JSON.stringify(task)] });
    const lines = (first?.stdout ?? "").split("\n").filter((line) => line.startsWith("{"));
    for (const line of lines.map((text) => JSON.parse(text) as Line)) {
      const count = counts.get(line.strategy);
      if (count === undefined) continue;
      if (line.broken !== null) {
        count.broken++;
        failures.push(`case ${line.index}, ${line.strategy}, ${line.features}: ${line.broken}`);
      } else if (line.refusedAlone !== null) count.alone++;
      else if (line.apart === null) count.refused++;
      else {
        count.equal++;
        count.apart = Math.max(count.apart, line.exact ? line.apart : 0);
      }
    }
    const ended = lines.length === task.cases.length;
    const last = lines.at(-1);
    const told = last !== undefined && (JSON.parse(last) as Line).broken !== null;
    if (!ended && !told)
      failures.push(
        `case ${task.cases[lines.length]}: ended with ${[first, ...others].map((r) => r?.signal ?? r?.code).join(", ")}: ${first?.stderr.slice(-600)}`,
      );
    done += lines.length + (ended || told ? 0 : 1);
    say(`${done} of ${cases.length} runs, ${failures.length} failures`);
  }
  const table = [
    `${Math.min(combinations, COMBINATIONS)} of ${COMBINATIONS} combinations of ${ASPECTS.map((a) => `${featuresOf(a).length} of ${a}`).join(", ")}.`,
    "",
    "| strategy | equal to one process | largest difference where none is expected | refused | refused in one process too | broken |",
    "|---|---|---|---|---|---|",
    ...[...counts].map(
      ([name, c]) => `| ${name} | ${c.equal} | ${c.apart.toExponential(1)} | ${c.refused} | ${c.alone} | ${c.broken} |`,
    ),
  ];
  return { table, failures };
}

export const contract: Part = {
  name: "contract",
  about:
    "Two processes train small networks with a strategy and one feature of each kind: losses, steps, skipped steps, scales and rates are those of one process within the features' tolerances, weights of the ranks are equal to the last bit, and what cannot be combined is refused before any step.",
  run,
};
