/** Fits that go on from files of Lightning's own; `fixtures/lightning-resume/make.py` made them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { AsyncCheckpointIO, Trainer } from "@nbit/lightning";
import { DataLoader, optim, tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";
import { Net as Written } from "./written-checkpoints.js";

const folder = join(import.meta.dirname, "../../lightning/fixtures/lightning-resume");
const { weight, ...losses } = JSON.parse(readFileSync(join(folder, "losses.json"), "utf8")) as Readonly<
  Record<"whole" | "epoch" | "end" | "weight", readonly number[]>
>;

/** That of the other direction, by the optimizer of these fixtures. */
class Net extends Written {
  protected override optimizer(): optim.Optimizer {
    return new optim.Adam(this.parameters(), { lr: 0.1, weightDecay: 0.01 });
  }
}

const data = Array.from({ length: 5 }, (_, i) =>
  tensor([
    [i * 0.5 - 1, 0.25 * i],
    [1 - 0.125 * i, 0.5],
  ]),
);

async function resumed(name: string): Promise<{ readonly net: Net; readonly trainer: Trainer }> {
  const net = new Net();
  const trainer = new Trainer({ ...QUIET, maxEpochs: 4, cpuKernels: "libtorch", plugins: new AsyncCheckpointIO() });
  const trainDataloaders = new DataLoader(data, { batchSize: null });
  await trainer.fit(net, { trainDataloaders, ckptPath: join(folder, `${name}.ckpt`) });
  return { net, trainer };
}

/** The last digit or two of float32 aside: the peer's kernels are of another build. */
function close(received: readonly number[], expected: readonly number[]): void {
  assert.equal(received.length, expected.length);
  received.forEach((value, i) => {
    const wanted = expected[i] ?? NaN;
    assert.ok(Math.abs(value - wanted) <= 2e-6 * Math.max(1, Math.abs(wanted)), `${i}: ${value}, not ${wanted}`);
  });
}

for (const name of ["epoch", "end"] as const)
  test(`from the ${name === "end" ? "end of a fit" : "end of an epoch"}: the losses of Lightning's own resume`, async () => {
    const { net, trainer } = await resumed(name);
    close(net.losses, losses[name]);
    close(net.hidden.weight.flatten().tolist() as number[], weight);
    assert.deepEqual([trainer.currentEpoch, trainer.globalStep], [4, 20]);
    close((trainer.lrSchedulerConfigs[0]?.scheduler as optim.ExponentialLR).getLastLr(), [0.1 * 0.9 ** 20]);
  });

test("from within an epoch: those of the fit that nobody stopped", async () => {
  const { net, trainer } = await resumed("step");
  close(net.losses, losses.whole.slice(8));
  close(net.hidden.weight.flatten().tolist() as number[], weight);
  assert.deepEqual([trainer.currentEpoch, trainer.globalStep], [4, 20]);
});
