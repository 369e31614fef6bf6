/** The same training on the host and on a device, and how far apart they end. */
import { Trainer, XLAAccelerator, type LightningModule, type TrainerOptions } from "@nbit/lightning";
import { noGrad, scope, seedEverything, type Tensor } from "@nbit/torch";
import { MetricRows, SILENT } from "../helpers/training.js";

/** Null: a plugin is here. */
export const missing: string | null = new XLAAccelerator().missing();
/** For `test`: what it needs is made by `nbit setup --xla`. */
export const needsPlugin = { skip: missing === null ? false : missing };

export interface Given {
  readonly module: LightningModule;
  readonly batches: readonly unknown[];
}
export interface Trained {
  readonly trainer: Trainer;
  readonly module: LightningModule;
  readonly losses: readonly number[];
  /** Parameters and buffers at the end, and before the first step. */
  readonly end: Readonly<Record<string, Tensor>>;
  readonly start: Readonly<Record<string, Tensor>>;
}

function copied(module: LightningModule): Record<string, Tensor> {
  const copies = Object.fromEntries(
    [...module.stateDict()].map(([name, t]) => [name, t.detach().to("float64").clone()]),
  );
  return copies;
}

/** Train from a seed, with a row of the log for every step. */
export async function train(make: () => Given, options: TrainerOptions): Promise<Trained> {
  seedEverything(7);
  const { module, batches } = make();
  const start = copied(module);
  const rows = new MetricRows();
  const trainer = new Trainer({ ...SILENT, maxEpochs: 1, logEveryNSteps: 1, logger: rows, ...options });
  await trainer.fit(module, { trainDataloaders: batches });
  const losses = rows.rows.map(({ metrics }) => metrics["loss"]).filter((loss) => loss !== undefined);
  return { trainer, module, losses, end: copied(module), start };
}

/** ‖got − wanted‖ / ‖wanted − start‖ over everything that training changes. */
export function updateError(got: Trained, wanted: Trained): number {
  return scope(() =>
    noGrad(() => {
      let apart = 0;
      let moved = 0;
      for (const [name, end] of Object.entries(wanted.end)) {
        apart += (got.end[name] as Tensor).sub(end).square().sum().item();
        moved += end
          .sub(wanted.start[name] as Tensor)
          .square()
          .sum()
          .item();
      }
      return Math.sqrt(apart / moved);
    }),
  );
}

export function worstLossError(got: Trained, wanted: Trained): number {
  return Math.max(
    ...wanted.losses.map((loss, i) => Math.abs((got.losses[i] ?? NaN) - loss) / Math.max(1, Math.abs(loss))),
  );
}
