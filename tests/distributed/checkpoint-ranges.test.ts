/** Where each process has a share, a resume reads of a checkpoint what that process needs, and no more. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Callback, FSDPStrategy, type CheckpointContents, type Trainer, type TrainerOptions } from "@nbit/lightning";
import { device, SafetensorsFile } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { fingerprint, folderOfAll, Net, run, SaveAfter } from "./checkpoint-run.js";

const WORLD = 2;
const folder = folderOfAll("ranks-ranges");
const FLOAT = 4;
/** 12·72 + 72, 72·72 + 72, 72·5 + 5: parameters; with BatchNorm's. */
const PARAMETERS = 936 + 144 + 5256 + 365;

const train = (trainer: TrainerOptions, ckptPath: string | null = null, Module = Net): ReturnType<typeof run> =>
  run({ rank: dist.getRank(), world: WORLD, Module, trainer: { maxEpochs: 1, ...trainer }, fit: { ckptPath } });
const fsdp = (stateDictType: "full" | "sharded"): FSDPStrategy => new FSDPStrategy(device("cpu"), { stateDictType });

/** Bytes that `work` reads of tensors, by the first part of their names. */
async function bytesRead(work: () => Promise<unknown>): Promise<Record<string, number>> {
  const sums: Record<string, number> = { stateDict: 0, optimizerStates: 0, loops: 0 };
  const { eachBytes } = SafetensorsFile.prototype;
  SafetensorsFile.prototype.eachBytes = function (name, from, to, take): void {
    const part = name.split(".")[0] ?? "";
    sums[part] = (sums[part] ?? 0) + to - from;
    eachBytes.call(this, name, from, to, take);
  };
  try {
    await work();
  } finally {
    SafetensorsFile.prototype.eachBytes = eachBytes;
  }
  return sums;
}

class SeesAll extends Net {
  states: readonly unknown[] = [];
  override onLoadCheckpoint({ optimizerStates }: CheckpointContents): void {
    const { state } = (optimizerStates?.[0] ?? {}) as {
      state: Record<string, Record<string, { sum(): { item(): number } }>>;
    };
    this.states = Object.values(state).map((fields) => fields["expAvgSq"]?.sum().item());
  }
}
class Watches extends Callback {
  path: string | null = null;
  override onTrainStart(trainer: Trainer): void {
    this.path = trainer.ckptPath;
  }
}

const cases: Record<string, RankCase> = {};
for (const form of ["full", "sharded"] as const) {
  cases[`a ${form} checkpoint, within a window`] = async (rank) => {
    const path = join(folder, `${form}.ckpt`);
    const options: TrainerOptions = { accumulateGradBatches: 3 };
    const callbacks = [new SaveAfter(5, path)];
    const whole = await train({ ...options, callbacks, strategy: fsdp(form) });
    let resumed: typeof whole | null = null;
    const read = await bytesRead(async () => (resumed = await train({ ...options, strategy: fsdp(form) }, path)));
    assert.equal(fingerprint((resumed ?? whole).module), fingerprint(whole.module));

    const all = dist.allGatherObject(read);
    const { length } = [...whole.module.parameters()];
    // Two moments of every element, once; a step of every parameter, on each rank that has some of it.
    const states = all.reduce((sum, one) => sum + (one["optimizerStates"] ?? NaN), 0);
    assert.ok(states >= 2 * FLOAT * PARAMETERS, `${states}`);
    assert.ok(states <= 2 * FLOAT * PARAMETERS + 2 * WORLD * FLOAT * length, `${states}`);
    for (const one of all) assert.ok((one["optimizerStates"] ?? 0) > 0.3 * states, JSON.stringify(all));
    // Rank 0's weights are everybody's; whole numbers tell what a layer is.
    assert.ok((all[0]?.["stateDict"] ?? 0) >= FLOAT * PARAMETERS);
    if (rank === 1) assert.ok((read["stateDict"] ?? Infinity) < FLOAT * 16, JSON.stringify(read));
  };
}
Object.assign(cases, {
  "hooks of the user see all tensors": async () => {
    const path = join(folder, "full.ckpt");
    const watch = new Watches();
    const { module } = await train({ strategy: fsdp("full"), callbacks: watch }, path, SeesAll);
    assert.equal(watch.path, path);
    assert.ok(module instanceof SeesAll && module.states.length > 0);
    for (const sum of module.states) assert.ok(typeof sum === "number" && sum > 0);
  },
  // Last: processes whose run failed have nothing more to tell each other.
  "a checkpoint of another model is refused on every rank, and changes nothing": async () => {
    const found: { before: string; module: Net }[] = [];
    class Wider extends Net {
      readonly extra = new Net().net;
      override setup(): void {
        found.push({ before: fingerprint(this), module: this });
      }
    }
    await assert.rejects(train({ strategy: fsdp("full") }, join(folder, "full.ckpt"), Wider), {
      code: "STATE_DICT_MISMATCH",
      message: /missing: extra\.0\.weight/,
    });
    for (const { before, module } of found) assert.equal(fingerprint(module), before);
    assert.equal(found.length, 1);
  },
} satisfies Record<string, RankCase>);
testRanks(import.meta.url, WORLD, cases);
