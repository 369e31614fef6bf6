/** Ranks killed at seeded moments: the others end with an error that names it, and what resumes ends as if nothing was. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runRanks, type RankResult } from "../../helpers/ranks.js";
import { random } from "../../helpers/plan-random.js";
import type { Part, PartOptions, PartResult } from "./part.js";
import type { Task } from "./training.js";

const PROGRAM = fileURLToPath(new URL("./training.js", import.meta.url));
/** Sums of more than two ranks are rounded by the order in which they are added up. */
const WORLDS = [2, 3, 4] as const;
const MODES = ["loop", "ddp", "windows", "fsdp"] as const;
/** One mode after the other, so that few trainings have all of them. */
function kindOf(seed: number, draw: (n: number) => number, ranks?: number): Pick<Task, "mode"> & { world: number } {
  const world = WORLDS[draw(WORLDS.length)] ?? 2;
  return { mode: MODES[seed % MODES.length] ?? "loop", world: ranks ?? world };
}
/** In a row, before a training may come to its end. */
const MOST_KILLS = 5;

interface Ended {
  readonly digest: string;
  readonly moments: number;
  readonly ms: number;
}
const resultOf = ({ stdout }: RankResult): Ended | null => {
  const line = stdout.split("\n").find((l) => l.startsWith("{"));
  return line === undefined ? null : (JSON.parse(line) as Ended);
};

/** Whether an error of another rank says that `rank` is the one. */
export const names = (rank: number, text: string): boolean =>
  new RegExp(
    `rank ${rank} (has died|failed|gives no sign)|store, .*of rank ${rank}\\b` +
      `|(Missing:|connections from|connect to) rank ([0-9]+, )*${rank}\\b`,
  ).test(text);

const start = (task: Task, world: number, killAfter: number | null): Promise<RankResult[]> =>
  runRanks(PROGRAM, world, {
    args: [JSON.stringify(task)],
    ...(task.kill === null || killAfter === null ? {} : { kill: { rank: task.kill.rank, after: killAfter } }),
  });

async function attack(root: string, { kills, seed, say, ranks }: PartOptions): Promise<PartResult> {
  const references = new Map<string, Ended[]>();
  const counts = new Map<string, { kills: number; trainings: number; before: number }>();
  const failures: string[] = [];
  let done = 0;
  for (let n = 0; done < kills; n++) {
    const draw = random(seed + n);
    const { mode, world } = kindOf(seed + n, draw, ranks);
    const key = `${mode}, ${world} ranks`;
    let reference = references.get(key);
    if (reference === undefined) {
      const folder = join(root, `whole-${references.size}`);
      mkdirSync(folder);
      const whole = (await start({ mode, folder, kill: null }, world, null)).map((result) => {
        const ended = resultOf(result);
        if (ended === null) throw new Error(`the undisturbed training failed (${key}): ${result.stderr}`);
        return ended;
      });
      references.set(key, (reference = whole));
    }
    const count = counts.get(key) ?? { kills: 0, trainings: 0, before: 0 };
    counts.set(key, count);
    const folder = join(root, `training-${n}`);
    mkdirSync(folder);
    const story: string[] = [];
    const fail = (what: string): number =>
      failures.push(`--seed ${seed + n} --kills 1 --only kills --ranks ${world}, ${key}: ${story.join(", ")}: ${what}`);
    for (let k = 0; ; k++) {
      const rank = draw(world);
      const fromOutside = draw(3) === 0;
      const at = 1 + draw(Math.ceil((reference[rank]?.moments ?? 1) / 2));
      const after = draw(Math.ceil((reference[rank]?.ms ?? 1) + 500));
      const kill = k < MOST_KILLS && done + story.length < kills ? { rank, at: fromOutside ? 0 : at } : null;
      const results = await start({ mode, folder, kill }, world, fromOutside ? after : null);
      const killed = results.findIndex((result) => result.signal === "SIGKILL");
      if (killed === -1) {
        const whole = reference;
        const wrong = results.flatMap((result, r) => {
          const ended = resultOf(result);
          if (result.code !== 0 || ended === null)
            return [`rank ${r} ended with ${result.signal ?? result.code}: ${result.stderr.slice(-1500)}`];
          return ended.digest === whole[r]?.digest ? [] : [`rank ${r}: other weights than without kills`];
        });
        if (wrong.length > 0) fail(wrong.join("; "));
        break;
      }
      story.push(`rank ${rank} at ${fromOutside ? `${after} ms` : `moment ${at}`}`);
      if (results[killed]?.stdout.includes("ready") !== true) count.before++;
      const wrong = results.flatMap((result, r) => {
        if (r === killed) return r === rank ? [] : [`rank ${r} was killed for hanging`];
        // Others may have come to their end before the kill.
        if (result.code === 0 && resultOf(result)?.digest === reference?.[r]?.digest) return [];
        if (result.signal !== null || result.code === 0)
          return [`rank ${r} ended with ${result.signal ?? result.code}`];
        return names(rank, result.stderr)
          ? []
          : [`rank ${r} does not name rank ${rank}: ${result.stderr.slice(-1500)}`];
      });
      if (wrong.length > 0) {
        fail(wrong.join("; "));
        break;
      }
    }
    done += story.length;
    count.kills += story.length;
    count.trainings++;
    say(`training ${n} (seed ${seed + n}, ${key}): ${story.length} kills: ${story.join(", ")}`);
    rmSync(folder, { recursive: true, force: true });
  }
  return {
    table: [
      "| training | trainings | kills | of these before all had joined |",
      "| --- | --- | --- | --- |",
      ...[...counts].map(([key, c]) => `| ${key} | ${c.trainings} | ${c.kills} | ${c.before} |`),
    ],
    failures,
  };
}

export const kills: Part = {
  name: "kills",
  about:
    "A random rank is killed (SIGKILL) at a random moment of a training with checkpoints: in a backward, in a collective, at a checkpoint, while ranks connect. Every other rank must end by itself with an error that names it, and " +
    "what goes on from the newest checkpoint must end with weights and optimizer state equal, to the bit, to those of a training that nobody disturbed.",
  async run(options) {
    const root = mkdtempSync(join(tmpdir(), "nbit-ranks-"));
    try {
      return await attack(root, options);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  },
};
