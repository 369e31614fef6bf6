import assert from "node:assert/strict";
import { test } from "node:test";
import { LightningModule, MisconfigurationError, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import { enableGrad, grad, isGradEnabled, isInferenceModeEnabled, nn, optim, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

type Hook = "onValidationBatchStart" | "validationStep" | "onValidationBatchEnd";

/** Energy k·x²/2, whose force is −k·x. */
class Spring extends LightningModule {
  readonly stiffness = new nn.Parameter(tensor([3]));
  readonly forces: unknown[] = [];
  readonly modes: string[] = [];
  /** Where forces are computed. */
  hook: Hook = "validationStep";
  recording: <T>(fn: () => T) => T = enableGrad;

  #visit(hook: Hook, x: Tensor): void {
    this.modes.push(isInferenceModeEnabled() ? "inference" : isGradEnabled() ? "recording" : "off");
    if (hook !== this.hook) return;
    this.recording(() => {
      const position = x.detach().requiresGrad_();
      const [slope] = grad(position.square().mul(this.stiffness).sum().div(2), [position]);
      this.forces.push(slope?.neg().tolist());
    });
  }
  override trainingStep(x: Tensor): Tensor {
    return x.mul(this.stiffness).square().sum();
  }
  override onValidationBatchStart(batch: Tensor): void {
    this.#visit("onValidationBatchStart", batch);
  }
  override validationStep(batch: Tensor): void {
    this.#visit("validationStep", batch);
  }
  override onValidationBatchEnd(_outputs: unknown, batch: Tensor): void {
    this.#visit("onValidationBatchEnd", batch);
  }
  override testStep(batch: Tensor): void {
    this.#visit("validationStep", batch);
  }
  override predictStep(batch: Tensor): unknown {
    this.#visit("validationStep", batch);
    return this.forces.at(-1);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0 });
  }
}

type Kind = "fit" | "validate" | "test" | "predict";
async function run(kind: Kind, model: Spring, options: TrainerOptions): Promise<unknown> {
  const loader = [tensor([1, -2]), tensor([4, 0])];
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1, ...options });
  return kind === "fit"
    ? trainer.fit(model, { trainDataloaders: loader, valDataloaders: loader })
    : trainer[kind](model, { dataloaders: loader });
}
const FORCES = [
  [-3, 6],
  [-12, 0],
];

test("with inferenceMode: false an evaluation step may differentiate, in every precision", async () => {
  for (const kind of ["validate", "test", "predict"] as const) {
    for (const precision of [32, 64, "bf16", "16-true"] as const) {
      const model = new Spring();
      const result = await run(kind, model, { inferenceMode: false, precision });
      assert.deepEqual(
        model.forces.map((f) => (f as number[]).map((v) => v + 0)),
        FORCES,
        `${kind} ${precision}`,
      );
      assert.deepEqual(new Set(model.modes), new Set(["off"]));
      if (kind === "predict") assert.deepEqual(result, model.forces);
    }
  }
});

test("validation within a fit may always differentiate; evaluation of its own runs in inference mode unless told otherwise", async () => {
  for (const inferenceMode of [true, false]) {
    const model = new Spring();
    await run("fit", model, { inferenceMode, numSanityValSteps: 0 });
    assert.deepEqual(
      model.forces.map((f) => (f as number[]).map((v) => v + 0)),
      FORCES,
    );
    assert.deepEqual(new Set(model.modes), new Set(["off"]));
  }
  for (const options of [{}, { inferenceMode: true }]) {
    const model = new Spring();
    model.recording = (fn) => fn();
    model.hook = "onValidationBatchEnd";
    await assert.rejects(run("validate", model, options));
    assert.deepEqual(new Set(model.modes), new Set(["inference"]));
  }
});

test("asking for gradients where there are none names what would give them", async () => {
  for (const hook of ["onValidationBatchStart", "validationStep", "onValidationBatchEnd"] as const) {
    const model = new Spring();
    model.hook = hook;
    await assert.rejects(run("validate", model, {}), (error) => {
      assert.ok(error instanceof MisconfigurationError);
      assert.equal(error.code, "ERR_INFERENCE_MODE");
      assert.match(
        error.message,
        /^validationStep: expected no gradients, since it runs in inference mode\. Received: .*does not require grad.* Pass inferenceMode: false to the Trainer, and ask for them within enableGrad\(\(\) => …\)\.$/,
      );
      return true;
    });
    model.recording = (fn) => fn();
    await assert.rejects(run("validate", model, { inferenceMode: false }), {
      code: "ERR_EVALUATION_GRAD",
      message: /Nothing is recorded during evaluation: compute and ask for them within enableGrad/,
    });
    await assert.rejects(run("fit", model, {}), { code: "ERR_EVALUATION_GRAD" });
  }
});

test("inferenceMode is true or false", () => {
  assert.throws(() => new Trainer({ ...QUIET, inferenceMode: "no" as unknown as boolean }), {
    code: "ERR_TRAINER_OPTION",
    message: 'Trainer: expected inferenceMode to be one of true, false. Received: "no".',
  });
});
