/** What the tests of two GPUs share: a run of this rank's rows of each batch, and its comparison with one GPU's. */
import assert from "node:assert/strict";
import { cuda, device, keep, seedEverything, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { Callback, Trainer, type LightningModule, type TrainerOptions } from "@nbit/lightning";
import { SILENT } from "../helpers/training.js";

export const two = cuda.isAvailable() && cuda.deviceCount() >= 2;

/** Every step's loss as it is; reading them is one wait, at the end. */
class Losses extends Callback {
  readonly values: Tensor[] = [];
  override onTrainBatchEnd(_: unknown, __: unknown, outputs: Readonly<Record<string, unknown>>): void {
    this.values.push(keep((outputs["loss"] as Tensor).detach().double().clone()));
  }
  read(): number[] {
    return this.values.map((v) => v.item());
  }
}

export interface Outcome {
  readonly losses: number[];
  readonly trainer: Trainer;
  readonly module: LightningModule;
}

/** This rank's rows of each batch, or all of them. */
export async function train(
  make: () => LightningModule,
  batches: Tensor[][],
  parallel: boolean,
  settings: TrainerOptions,
): Promise<Outcome> {
  const [rank, world] = parallel ? [dist.getRank(), dist.getWorldSize()] : [0, 1];
  const where = device(`cuda:${dist.getRank()}`);
  cuda.setDevice(where);
  const mine = batches.map((batch) =>
    batch.map((t) => {
      const share = (t.shape[0] ?? 0) / world;
      return t
        .narrow(0, rank * share, share)
        .contiguous()
        .to(where);
    }),
  );
  seedEverything(7);
  const module = make();
  const losses = new Losses();
  const trainer = new Trainer({
    accelerator: "gpu",
    ...(parallel ? {} : { strategy: "single_device", devices: [dist.getRank()] }),
    maxSteps: batches.length / (settings.accumulateGradBatches ?? 1),
    maxEpochs: 1,
    ...SILENT,
    ...settings,
    callbacks: [losses],
  });
  await trainer.fit(module, { trainDataloaders: mine });
  return { losses: losses.read(), trainer, module };
}

export async function compare(
  make: () => LightningModule,
  batches: Tensor[][],
  settings: TrainerOptions,
  tolerance: number,
): Promise<Outcome> {
  const both = await train(make, batches, true, settings);
  const all = dist.allGatherObject(both.losses);
  const sums = dist.allGatherObject([...both.module.parameters()].map((p) => p.detach().double().abs().sum().item()));
  assert.deepEqual(sums[1], sums[0], "weights of the ranks");
  const { strategy: _, ...alone } = settings;
  const one = await train(make, batches, false, alone);
  one.losses.forEach((expected, i) => {
    const loss = all.reduce((sum, losses) => sum + (losses[i] ?? NaN), 0) / all.length;
    assert.ok(
      Math.abs(loss - expected) <= tolerance * Math.max(1, Math.abs(expected)),
      `step ${i}: ${loss}, alone ${expected}`,
    );
  });
  dist.barrier();
  return both;
}
