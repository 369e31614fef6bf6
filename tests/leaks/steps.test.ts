/** Ten thousand training steps: as many tensors, bytes and resident memory at the end as near the start. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { getHeapSpaceStatistics } from "node:v8";
import { Callback, LightningModule, Trainer } from "@nbit/lightning";
import {
  autocast,
  crossEntropyLoss,
  DataLoader,
  GradScaler,
  memory,
  nn,
  optim,
  randint,
  randn,
  scope,
  setNumThreads,
  TensorDataset,
  type Tensor,
} from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { MEASURABLE } from "../helpers/sanitized.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors

const STEPS = 10_000;
/** The allocator's and V8's own pools are full by then. */
const SETTLED = 1_000;
const MIB = 2 ** 20;

function network(): nn.Sequential {
  return new nn.Sequential(new nn.Linear(8, 16), new nn.ReLU(), new nn.Dropout(0.1), new nn.Linear(16, 4));
}

interface Moment {
  readonly tensors: number;
  readonly bytes: number;
  readonly resident: number;
}
async function moment(): Promise<Moment> {
  await collectGarbage();
  const { unreleased: tensors, bytes, residentBytes } = memory();
  return { tensors, bytes, resident: residentBytes - youngGeneration() };
}
/** V8 sizes it by how busy the machine is, up to 16 MiB; what lives on after the collection is not in it. */
function youngGeneration(): number {
  const spaces = getHeapSpaceStatistics().filter(({ space_name: name }) => name === "new_space");
  assert.equal(spaces.length, 1);
  return spaces.reduce((sum, { physical_space_size: bytes }) => sum + bytes, 0);
}
function assertFlat(settled: Moment, end: Moment): void {
  assert.equal(end.tensors, settled.tensors, "live tensors");
  assert.equal(end.bytes, settled.bytes, "bytes that tensors hold");
  // One leaked 4×16 gradient a step would be 9,000 × 256 bytes = 2.2 MiB of tensors and more of handles; what moves
  // here is V8's heap.
  const growth = end.resident - settled.resident;
  if (MEASURABLE)
    assert.ok(
      growth < Math.max(0.05 * settled.resident, 8 * MIB),
      `resident memory grew by ${(growth / MIB).toFixed(1)} MiB from ${(settled.resident / MIB).toFixed(1)} MiB`,
    );
}

test("a loop with scopes holds no more memory as it goes on", async () => {
  const net = network();
  const opt = new optim.AdamW(net.parameters(), { lr: 1e-3 });
  const x = randn([4, 8]);
  const y = randint(0, 4, [4]);
  let settled: Moment | null = null;
  for (let i = 1; i <= STEPS; i++) {
    scope(() => {
      opt.zeroGrad();
      crossEntropyLoss(net.forward(x), y).backward();
      opt.step();
    });
    if (i === SETTLED) settled = await moment();
  }
  assert.ok(settled !== null);
  assertFlat(settled, await moment());
});

test("a loop with autocast, loss scaling, clipping and skipped steps holds no more memory as it goes on", async () => {
  const net = network();
  const opt = new optim.SGD(net.parameters(), { lr: 0.1, momentum: 0.9 });
  const scaler = new GradScaler({ device: "cpu", initScale: 2 ** 16, growthInterval: 50 });
  const x = randn([4, 8]);
  const y = randint(0, 4, [4]);
  let settled: Moment | null = null;
  for (let i = 1; i <= 3000; i++) {
    scope(() => {
      opt.zeroGrad();
      const loss = autocast({ deviceType: "cpu", dtype: "float16" }, () => crossEntropyLoss(net.forward(x), y));
      scaler.scale(i % 97 === 0 ? loss.mul(Infinity) : loss).backward();
      scaler.unscale_(opt);
      optim.clipGradNorm(net.parameters(), 1);
      scaler.step(opt);
      scaler.update();
    });
    if (i === SETTLED) settled = await moment();
  }
  assert.ok(settled !== null);
  assertFlat(settled, await moment());
});

test("the Trainer, with a shuffling loader, accumulation, clipping and logging, holds no more memory as it goes on", async () => {
  class Module extends LightningModule {
    readonly net = network();
    override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
      const loss = crossEntropyLoss(this.net.forward(x), y);
      this.log("loss", loss, { onStep: true, onEpoch: true });
      return loss;
    }
    override configureOptimizers(): optim.Optimizer {
      return new optim.AdamW(this.parameters(), { lr: 1e-3, fused: true });
    }
  }
  // Compared at the same place of an epoch, so that loader and logger hold the same.
  const moments: Moment[] = [];
  class Watch extends Callback {
    #epochs = 0;
    override async onTrainEpochStart(): Promise<void> {
      this.#epochs++;
      if (this.#epochs === 11 || this.#epochs === 100) moments.push(await moment());
    }
  }
  const data = new TensorDataset(randn([400, 8]), randint(0, 4, [400]));
  const trainer = new Trainer({
    ...QUIET,
    maxEpochs: 100,
    accumulateGradBatches: 2,
    gradientClipVal: 1,
    callbacks: [new Watch()],
  });
  await trainer.fit(new Module(), { trainDataloaders: new DataLoader(data, { batchSize: 4, shuffle: true }) });
  const [settled, end] = moments;
  assert.ok(settled !== undefined && end !== undefined);
  assertFlat(settled, end);
});
