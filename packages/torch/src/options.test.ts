import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, autocast, checkOptions, DataLoader, GradScaler, nearest, nn, optim, TensorDataset, zeros } from "./index.js";

/** As JavaScript would call it. */
const loosely = <T extends (...args: never[]) => unknown>(fn: T): ((...args: unknown[]) => unknown) => fn as unknown as (...args: unknown[]) => unknown;
const make = (type: unknown): ((...args: unknown[]) => object) => (...args) => Reflect.construct(type as new () => object, args);

function fails(run: () => unknown, message: string): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof ArgumentError, String(error));
    assert.equal(error.message, message);
    return true;
  });
}
const layer = (): nn.Linear => new nn.Linear(2, 2);

test("the nearest name: case, hyphens and underscores do not count, two edits do", () => {
  assert.equal(nearest("weight_decay", ["lr", "weightDecay"]), "weightDecay");
  assert.equal(nearest("max-epochs", ["maxSteps", "maxEpochs"]), "maxEpochs");
  assert.equal(nearest("bathSise", ["batchSize"]), "batchSize");
  assert.equal(nearest("momentum", ["lr", "eps"]), null);
  assert.equal(nearest("bathSise", ["batchSize"], 1), null);
});

test("an option under another name is an error that names the option, wherever options are taken", () => {
  const data = new TensorDataset(zeros([4]));
  const cases: readonly (readonly [() => unknown, string])[] = [
    [() => make(optim.AdamW)(layer().parameters(), { weight_decay: 1 }), 'AdamW: expected the option weightDecay. Received: "weight_decay".'],
    [() => make(optim.Adam)(layer().parameters(), { learningRate: 1 }), 'Adam: expected options among lr, betas, eps, weightDecay, amsgrad, maximize, fused, rounding, roundingSeed. Received: "learningRate".'],
    [() => make(optim.SGD)(layer().parameters(), { momentun: 1 }), 'SGD: expected the option momentum. Received: "momentun".'],
    [() => make(optim.LBFGS)(layer().parameters(), { max_iter: 1 }), 'LBFGS: expected the option maxIter. Received: "max_iter".'],
    [() => make(optim.ReduceLROnPlateau)(new optim.SGD(layer().parameters()), { min_lr: 1 }), 'ReduceLROnPlateau: expected the option minLr. Received: "min_lr".'],
    [() => make(optim.SGD)([{ params: layer().parameters(), weight_decay: 1 }], {}), 'SGD.addParamGroup: expected the option weightDecay. Received: "weight_decay".'],
    [() => make(DataLoader)(data, { batch_size: 2 }), 'DataLoader: expected the option batchSize. Received: "batch_size".'],
    [() => make(GradScaler)({ init_scale: 2 }), 'GradScaler: expected the option initScale. Received: "init_scale".'],
    [() => loosely(autocast)({ device_type: "cpu" }, () => 1), 'autocast: expected the option deviceType. Received: "device_type".'],
    [() => loosely(autocast)("cpu", () => 1), 'autocast: expected options to be an object, such as { name: value }. Received: "cpu".'],
    [() => loosely(autocast)({ deviceType: "cpu" }), "autocast: expected a function to run: autocast(options, () => …). Received: undefined."],
    [() => make(nn.Linear)(2, 2, { bais: false }), 'Linear: expected the option bias. Received: "bais".'],
    [() => make(nn.Linear)(2, 2, 1), "Linear: expected bias to be true or false. Received: 1."],
    [() => make(nn.Conv2d)(2, 2, 3, { pading: 1 }), 'Conv2d: expected the option padding. Received: "pading".'],
    [() => make(nn.BatchNorm1d)(2, { track_running_stats: false }), 'BatchNorm1d: expected the option trackRunningStats. Received: "track_running_stats".'],
    [() => make(nn.LayerNorm)(2, { elementwise_affine: false }), 'LayerNorm: expected the option elementwiseAffine. Received: "elementwise_affine".'],
    [() => make(nn.Embedding)(2, 2, { padding_idx: 0 }), 'Embedding: expected the option paddingIdx. Received: "padding_idx".'],
  ];
  for (const [run, message] of cases) fails(run, message);
});

test("groups may carry names of their own; a module is no list of parameters", () => {
  const optimizer = new optim.SGD([{ params: layer().parameters(), name: "head", depth: 3 }], { lr: 0.5 });
  assert.equal(optimizer.paramGroups[0]?.["name"], "head");
  assert.equal(optimizer.paramGroups[0]?.lr, 0.5);
  fails(() => make(optim.SGD)(layer(), { lr: 1 }), "SGD: expected parameters, or groups { params, … }, as an array or another iterable. Received: an instance of Linear. Of a module take module.parameters().");
});

test("names from a prototype are no options", () => {
  fails(() => checkOptions("f", { toString: 1 } as { a?: number }, { a: true }), 'f: expected options among a. Received: "toString".');
  checkOptions("f", { a: undefined }, { a: true });
});
