/** A module that trains, and calls that fail with a message. */
import assert from "node:assert/strict";
import { LightningModule } from "@nbit/lightning";
import { crossEntropyLoss, DataLoader, NbitError, nn, optim, randint, randn, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

export type Pair = [Tensor, Tensor];
export class Small extends LightningModule {
  layer = new nn.Linear(4, 2);
  loss([x, y]: Pair): Tensor {
    return crossEntropyLoss(this.layer.forward(x), y);
  }
  override trainingStep(batch: Pair): Tensor {
    return this.loss(batch);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
export function batches(n = 2): Iterable<unknown> {
  return new DataLoader(new TensorDataset(randn(4 * n, 4), randint(2, [4 * n])), { batchSize: 4 });
}
/** What JavaScript would pass, unchecked. */
export const loosely = <T>(value: unknown): T => value as T;

export async function fails(run: () => unknown, code: string, message: string): Promise<void> {
  await assert.rejects(
    async () => run(),
    (error) => {
      assert.ok(error instanceof NbitError, String(error));
      assert.deepEqual([error.code, error.message], [code, message]);
      return true;
    },
  );
}
