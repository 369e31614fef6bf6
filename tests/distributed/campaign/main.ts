/**
 * What takes too long for each change: training in several processes, attacked and in all combinations.
 *
 *     npm run test:ranks                              all parts
 *     npm run test:ranks -- --only kills --kills 50 --seed 1
 *     npm run test:ranks -- --only kills --kills 20 --ranks 3
 *     npm run test:ranks -- --only contract --combinations 300   some of all, by seed
 *     npm run test:ranks -- --out FILE.md             also writes its log
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { versions } from "@nbit/torch";
import { COMBINATIONS, contract } from "./contract.js";
import { kills } from "./kills.js";
import type { Part } from "./part.js";

const PARTS: readonly Part[] = [kills, contract];

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    kills: { type: "string", default: "50" },
    combinations: { type: "string", default: `${COMBINATIONS}` },
    ranks: { type: "string" },
    only: { type: "string" },
    out: { type: "string" },
  },
});
const [seed, count, combinations] = [Number(values.seed), Number(values.kills), Number(values.combinations)];
if (!Number.isSafeInteger(seed) || seed < 0 || !Number.isSafeInteger(count) || count < 1 || !(combinations >= 1))
  throw new Error(
    `test:ranks: expected --seed ≥ 0, --kills ≥ 1 and --combinations ≥ 1. Received: ${values.seed}, ${values.kills}, ${values.combinations}`,
  );
const ranks = values.ranks === undefined ? undefined : Number(values.ranks);
if (ranks !== undefined && !(Number.isSafeInteger(ranks) && ranks >= 2 && ranks <= 16))
  throw new Error(`test:ranks: expected --ranks to be 2 to 16. Received: ${values.ranks}`);
const parts = PARTS.filter((part) => values.only === undefined || part.name === values.only);
if (parts.length === 0)
  throw new Error(
    `test:ranks: expected --only to be one of ${PARTS.map((p) => p.name).join(", ")}. Received: ${values.only}`,
  );

const date = new Date().toISOString().slice(0, 10);
const log = [
  `# Several processes, ${date}`,
  "",
  `\`npm run test:ranks -- --seed ${seed} --kills ${count} --combinations ${combinations}\`. Node ${process.version.slice(1)}, libtorch ${versions().libtorch}, ${availableParallelism()} cores.`,
];
let failed = 0;
for (const part of parts) {
  const began = performance.now();
  const { table, failures } = await part.run({
    seed,
    kills: count,
    combinations,
    ranks,
    say: (text) => console.log(text),
  });
  const seconds = Math.round((performance.now() - began) / 1000);
  failed += failures.length;
  for (const failure of failures) console.error(`FAILED ${failure}`);
  log.push("", `## ${part.name}`, "", part.about, "", ...table, "", `${failures.length} failures, ${seconds} seconds.`);
  log.push(...failures.map((failure) => `- ${failure}`));
}
console.log(log.join("\n"));
if (values.out !== undefined) writeFileSync(values.out, `${log.join("\n")}\n`);
process.exitCode = failed === 0 ? 0 : 1;
