/** A run of training, and a digest of everything that it left, for comparison with another. */
import assert from "node:assert/strict";
import { Trainer, type LightningModule, type TrainerOptions } from "@nbit/lightning";
import { defaultGenerator, seedEverything } from "@nbit/torch";
import { digestOf } from "../helpers/digest.js";
import { MetricRows, QUIET } from "../helpers/training.js";

export interface Left {
  readonly trainer: Trainer;
  /** By name: what tells two runs apart. */
  readonly digests: Readonly<Record<string, string>>;
}

/** Train from `seed`. `make` draws the module and its data, and may be called again for another run. */
export async function trained(
  make: () => { readonly module: LightningModule; readonly batches: readonly unknown[] },
  options: TrainerOptions,
): Promise<Left> {
  seedEverything(7);
  const { module, batches } = make();
  const rows = new MetricRows();
  const trainer = new Trainer({
    ...QUIET,
    maxEpochs: 2,
    logEveryNSteps: 1,
    logger: rows,
    detectNonFinite: false, // also runs that overflow are compared
    ...options,
  });
  await trainer.fit(module, { trainDataloaders: batches });
  return {
    trainer,
    digests: {
      module: digestOf(module.stateDict()),
      optimizers: digestOf(trainer.optimizers.map((o) => o.stateDict())),
      gradients: digestOf([...module.parameters()].map((p) => p.grad)),
      rows: digestOf(rows.rows),
      precision: digestOf(trainer.precision.stateDict()),
      random: digestOf(defaultGenerator.getState()),
    },
  };
}

/** Both ways, which must leave the same. Returns how many batches the second replayed. */
export async function replaysEqual(
  make: () => { readonly module: LightningModule; readonly batches: readonly unknown[] },
  options: TrainerOptions,
): Promise<number> {
  const eager = await trained(make, { ...options, replay: false });
  const replayed = await trained(make, { ...options, replay: true });
  assert.equal(eager.trainer.replayedBatches, 0);
  assert.deepEqual(replayed.digests, eager.digests);
  return replayed.trainer.replayedBatches;
}
