/** Steps that cannot be recorded or replayed: what is said, and that training goes on as ever. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type optim, outsideScopes, setNumThreads, type Tensor } from "@nbit/torch";
import { Callback } from "../callbacks/callback.js";
import { type LightningModule } from "../module.js";
import { FullPrecision } from "../precision/full.js";
import { Run } from "../run.js";
import type { TrainerOptions } from "../trainer-options.js";
import type { TrainerView } from "../trainer-view.js";
import { Graphed, Net, type Course, train } from "./testing/graphed-training.js";

setNumThreads(1);

class OwnZeroGrad extends Net {
  override optimizerZeroGrad(_: number, __: number, optimizer: optim.Optimizer): void {
    optimizer.zeroGrad();
  }
}
class Lossless extends Net {
  #batches = 0;
  override trainingStep(x: Tensor): Tensor {
    return this.#batches++ === 4 ? (null as unknown as Tensor) : super.trainingStep(x);
  }
}
/** A plugin of the version before. */
class FormerPlugin extends FullPrecision {
  get windowObstacle(): string {
    return "said under its former name";
  }
}
/** Replaces a gradient in the middle of the step. */
class Replaces extends Net {
  #batches = 0;
  override trainingStep(x: Tensor): Tensor {
    const loss = super.trainingStep(x);
    if (this.#batches++ > 3) this.head.weight.grad = outsideScopes(() => this.head.weight.grad?.clone() ?? null);
    return loss;
  }
}
test("a step that cannot be recorded warns with the reason, and training goes on eagerly", async () => {
  const cases: readonly (readonly [() => Net, TrainerOptions, RegExp])[] = [
    [
      () => new OwnZeroGrad(),
      {},
      /optimizerZeroGrad is overridden, and accumulated gradients must stay where they lie/,
    ],
    [() => new Net(), { ampBackend: "apex", ampLevel: "O0" }, /APEX moves gradients/],
    [() => new Lossless(), {}, /trainingStep returned no loss/],
    [() => new Net(), { plugins: new FormerPlugin() }, /^said under its former name$/],
    [() => new Replaces(), {}, /it made new gradients/],
  ];
  for (const [make, options, reason] of cases) {
    const graphed = new Graphed();
    const course: Course = {
      options: () => ({ ...options, accumulateGradBatches: 2, logger: false }),
      make,
      lengths: Array.from({ length: 8 }, () => 5),
      epochs: 1,
    };
    const replayed = await train(course, graphed);
    // A step method that counts its calls was called once more, to record.
    if (!(make() instanceof Lossless)) assert.deepEqual(replayed.weights, (await train(course, null)).weights);
    assert.match(graphed.step?.reason ?? "none", reason);
    assert.equal(graphed.step?.replayed, 0);
  }
});

/** Logs with an option that does not exist while its step is recorded. */
class LogsWrongly extends Net {
  #batches = 0;
  override trainingStep(x: Tensor): Tensor {
    if (this.#batches++ === 3) this.log("wrong", 1, { often: true } as object);
    return super.trainingStep(x);
  }
}
function logsFromOutside(net: Net): void {
  assert.throws(() => net.log("late", 1), { code: "ERR_LOG_HOOK", message: /Received: "?a call from outside/ });
}
test("a log that throws while a step is recorded leaves no hook behind: the step runs eagerly", async () => {
  const net = new LogsWrongly();
  const graphed = new Graphed();
  await train({ make: () => net, lengths: [5, 5, 5, 5, 5, 5], epochs: 1 }, graphed);
  assert.match(graphed.step?.reason ?? "none", /log: expected/);
  logsFromOutside(net);
});
test("a log that throws while a step is replayed ends the run, and leaves no hook behind", async () => {
  const net = new Net();
  let run: Run | null = null;
  class Breaks extends Callback {
    override onTrainBatchEnd(
      trainer: TrainerView,
      _module: LightningModule,
      _outputs: unknown,
      _batch: unknown,
      batchIdx: number,
    ): void {
      const active: unknown = Reflect.get(trainer, "active");
      if (batchIdx !== 5 || !(active instanceof Run)) return;
      run = active;
      active.log = () => {
        throw new Error("no room for numbers");
      };
    }
  }
  const graphed = new Graphed();
  await assert.rejects(
    train(
      { make: () => net, options: () => ({ callbacks: new Breaks() }), lengths: [5, 5, 5, 5, 5, 5, 5, 5], epochs: 1 },
      graphed,
    ),
    /no room for numbers/,
  );
  assert.ok(run !== null && (graphed.step?.replayed ?? 0) > 0);
  Reflect.deleteProperty(run, "log");
  logsFromOutside(net);
});
