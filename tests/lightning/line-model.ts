/** A model that fits a line, all four runs of it, and the hooks that may be asynchronous in them. */
import { type Callback, LightningModule, type Logger, Trainer } from "@nbit/lightning";
import { nn, optim, seedEverything, type Tensor, TensorDataset, DataLoader, randn } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

/** Hooks that may be asynchronous: a run waits for them. */
export const WAITS = [
  "setup",
  "teardown",
  "onFitStart",
  "onFitEnd",
  "onSanityCheckStart",
  "onSanityCheckEnd",
  "onTrainStart",
  "onTrainEnd",
  "onTrainEpochStart",
  "onTrainEpochEnd",
  "onTrainBatchStart",
  "onTrainBatchEnd",
  "onValidationStart",
  "onValidationEnd",
  "onValidationEpochStart",
  "onValidationEpochEnd",
  "onValidationBatchStart",
  "onValidationBatchEnd",
  "onTestStart",
  "onTestEnd",
  "onTestEpochStart",
  "onTestEpochEnd",
  "onTestBatchStart",
  "onTestBatchEnd",
  "onPredictStart",
  "onPredictEnd",
  "onPredictEpochStart",
  "onPredictEpochEnd",
  "onPredictBatchStart",
  "onPredictBatchEnd",
  "prepareData",
  "onBeforeBatchTransfer",
  "transferBatchToDevice",
  "onAfterBatchTransfer",
];

export type Pair = [Tensor, Tensor];
export class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
  override forward(x: Tensor): Tensor {
    return this.layer.forward(x);
  }
  override trainingStep([x, y]: Pair): Tensor {
    const loss = this.forward(x).sub(y).square().mean();
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override validationStep([x, y]: Pair): void {
    this.log("val_loss", this.forward(x).sub(y).square().mean());
  }
  override testStep([x, y]: Pair): void {
    this.log("test_loss", this.forward(x).sub(y).square().mean());
  }
  override configureOptimizers() {
    const optimizer = new optim.SGD(this.parameters(), { lr: 0.1, momentum: 0.9 });
    return { optimizer, lrScheduler: { scheduler: new optim.StepLR(optimizer, 2), interval: "step" } };
  }
}

export function loader(): DataLoader<[Tensor, Tensor], [Tensor, Tensor]> {
  return new DataLoader(new TensorDataset(randn([12, 3]), randn([12, 1])), { batchSize: 4 });
}

/** Fit, validate, test and predict; what came of it. */
export async function everything(
  model: LightningModule,
  callbacks: Callback[],
  loggers: Logger[] = [],
): Promise<unknown> {
  seedEverything(5);
  const data = loader();
  for (const parameter of model.parameters()) parameter.detach().fill_(0.25);
  const trainer = new Trainer({
    ...QUIET,
    logger: loggers.length > 0 ? loggers : false,
    callbacks,
    maxEpochs: 2,
    gradientClipVal: 1,
    logEveryNSteps: 1,
  });
  await trainer.fit(model, { trainDataloaders: data, valDataloaders: data });
  const metrics = { ...trainer.callbackMetrics };
  const dataloaders = data;
  const results = [await trainer.validate(model, { dataloaders }), await trainer.test(model, { dataloaders })];
  const predictions = await trainer.predict(model, { dataloaders });
  return {
    metrics,
    results,
    weights: model.parameters().map((p) => p.tolist()),
    predictions: predictions.map((p) => (p as Tensor).tolist()),
  };
}
