/**
 * Resident memory is what tensors hold: over mixes of sizes, taken and given back in any order, at most 1.15 times
 * their bytes.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { LightningModule, Trainer } from "@nbit/lightning";
import {
  DataLoader,
  memory,
  nn,
  ones,
  optim,
  setNumThreads,
  stack,
  TensorDataset,
  trimMemory,
  type Tensor,
} from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { UNMEASURABLE } from "../helpers/sanitized.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const KIB = 1024;
const MIB = 1024 * KIB;

/** Bytes of the process that are in memory and not shared with a file. */
function resident(): number {
  const [, kib = ""] = /^Anonymous:\s+(\d+) kB/m.exec(readFileSync("/proc/self/smaps_rollup", "utf8")) ?? [];
  assert.notEqual(kib, "");
  return Number(kib) * KIB;
}

/** mulberry32: the same mix everywhere. */
function randomly(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Mix {
  readonly held: Tensor[] = [];
  bytes = 0;
  readonly #random: () => number;
  constructor(
    seed: number,
    readonly least: number,
    readonly most: number,
    readonly wanted: number,
  ) {
    this.#random = randomly(seed);
  }
  take(): void {
    const size = Math.exp(Math.log(this.least) + this.#random() * Math.log(this.most / this.least));
    const x = ones([Math.ceil(size / 4)]);
    this.held.push(x);
    this.bytes += x.nbytes;
  }
  give(at: number): void {
    const x = this.held[at];
    const end = this.held.pop();
    assert.ok(x !== undefined && end !== undefined);
    if (at < this.held.length) this.held[at] = end;
    this.bytes -= x.nbytes;
    x.dispose();
  }
  /** Fills up, then goes up and down between half and all of what is wanted. */
  turn(): void {
    const share = this.bytes < this.wanted / 2 ? 1 : this.bytes > this.wanted ? 0 : 0.55;
    if (this.#random() < share) this.take();
    else this.give(Math.floor(this.#random() * this.held.length));
  }
}

const mixes = [
  { least: 64 * KIB, most: 64 * KIB, wanted: 60 * MIB },
  { least: 64 * KIB, most: 200 * KIB, wanted: 60 * MIB },
  { least: 300 * KIB, most: 300 * KIB, wanted: 80 * MIB },
  { least: 64 * KIB, most: 1 * MIB, wanted: 80 * MIB },
  { least: 64 * KIB, most: 8 * MIB, wanted: 120 * MIB },
  { least: 2 * MIB + 1, most: 2 * MIB + 1, wanted: 100 * MIB },
  { least: 1 * MIB, most: 32 * MIB, wanted: 200 * MIB },
];

for (const { least, most, wanted } of mixes) {
  test(`resident memory stays flat with tensors of ${least} to ${most} bytes`, { skip: UNMEASURABLE }, async () => {
    for (const seed of [1, 2]) {
      const mix = new Mix(seed, least, most, wanted);
      trimMemory();
      await collectGarbage();
      const before = resident();
      const { reservedBytes } = memory();
      const check = (when: string): void => {
        const grown = resident() - before;
        assert.ok(
          grown <= 1.15 * mix.bytes,
          `${when}: ${(grown / MIB).toFixed(1)} MiB resident for ${(mix.bytes / MIB).toFixed(1)} MiB of tensors, seed ${seed}`,
        );
        const told = memory().reservedBytes - reservedBytes;
        // V8 too gives and takes, up to its 16 MiB for new objects.
        assert.ok(
          told >= 0.9 * grown - MIB && told <= grown + 16 * MIB,
          `${when}: memory() tells ${(told / MIB).toFixed(1)} MiB, ${(grown / MIB).toFixed(1)} MiB are resident, seed ${seed}`,
        );
      };
      while (mix.bytes < wanted) mix.take();
      check("filled");
      const turns = Math.min(1000, Math.ceil((8 * wanted) / (least + most)));
      for (let i = 1; i <= turns; i++) {
        mix.turn();
        if (i % Math.ceil(turns / 8) === 0) check(`after ${i} turns`);
      }
      for (let i = mix.held.length - 1; i >= 0; i -= 2) mix.give(i);
      check("every other one given back");
      while (mix.held.length > 0) mix.give(0);
      assert.ok(resident() - before < 8 * MIB, "all given back");
    }
  });
}

test("after a fit the allocator holds no idle memory", async () => {
  class Wide extends LightningModule {
    readonly net = new nn.Sequential(new nn.Linear(256, 1024), new nn.ReLU(), new nn.Linear(1024, 1));
    most = 0;
    override trainingStep(x: Tensor): Tensor {
      this.most = Math.max(this.most, memory().cachedBytes);
      return this.net.forward(x).mean();
    }
    override configureOptimizers(): optim.Optimizer {
      return new optim.SGD(this.parameters(), { lr: 0.1 });
    }
  }
  const module = new Wide();
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1 });
  await trainer.fit(module, {
    trainDataloaders: new DataLoader(new TensorDataset(ones([4 * 512, 256])), {
      batchSize: 512,
      collateFn: (rows) => stack(rows.map(([row]) => row as Tensor)),
    }),
  });
  assert.ok(module.most > 2 * MIB, `${module.most} bytes waited for the next step`);
  assert.ok(memory().cachedBytes < MIB, `${memory().cachedBytes} bytes lie idle`);
});
