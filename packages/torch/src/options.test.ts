import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ArgumentError,
  autocast,
  checkOptions,
  DataLoader,
  dtypeKind,
  GradScaler,
  isGradEnabled,
  kinds,
  nn,
  noGrad,
  optim,
  setGradEnabled,
  tensorKind,
  TensorDataset,
  withDefaults,
  zeros,
} from "./index.js";
import { nearest } from "./names.js";

/** As JavaScript would call it. */
const loosely = <T extends (...args: never[]) => unknown>(fn: T): ((...args: unknown[]) => unknown) =>
  fn as unknown as (...args: unknown[]) => unknown;
const make =
  (type: unknown): ((...args: unknown[]) => object) =>
  (...args) =>
    Reflect.construct(type as new () => object, args);

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
    [
      () => make(optim.AdamW)(layer().parameters(), { weight_decay: 1 }),
      'AdamW: expected the option weightDecay. Received: "weight_decay".',
    ],
    [
      () => make(optim.Adam)(layer().parameters(), { learningRate: 1 }),
      'Adam: expected options among params, lr, betas, eps, weightDecay, amsgrad, foreach, maximize, differentiable, capturable, fused, rounding, roundingSeed, decoupledWeightDecay. Received: "learningRate".',
    ],
    [
      () => make(optim.SGD)(layer().parameters(), { momentun: 1 }),
      'SGD: expected the option momentum. Received: "momentun".',
    ],
    [
      () => make(optim.LBFGS)(layer().parameters(), { max_iter: 1 }),
      'LBFGS: expected the option maxIter. Received: "max_iter".',
    ],
    [
      () => make(optim.ReduceLROnPlateau)(new optim.SGD(layer().parameters()), { min_lr: 1 }),
      'ReduceLROnPlateau: expected the option minLr. Received: "min_lr".',
    ],
    [
      () => make(optim.SGD)([{ params: layer().parameters(), weight_decay: 1 }], {}),
      'SGD.addParamGroup: expected the option weightDecay. Received: "weight_decay".',
    ],
    [
      () => make(DataLoader)(data, { batch_size: 2 }),
      'DataLoader: expected the option batchSize. Received: "batch_size".',
    ],
    [() => make(GradScaler)({ init_scale: 2 }), 'GradScaler: expected the option initScale. Received: "init_scale".'],
    [
      () => loosely(autocast)({ device_type: "cpu" }, () => 1),
      'autocast: expected the option deviceType. Received: "device_type".',
    ],
    [
      () => loosely(autocast)({ deviceType: "cpu" }),
      "autocast: expected a function to run: autocast(options, () => …). Received: an object with keys deviceType.",
    ],
    [() => make(nn.Linear)(2, 2, { bais: false }), 'Linear: expected the option bias. Received: "bais".'],
    [() => make(nn.Linear)(2, 2, 1), "Linear: expected bias to be true or false. Received: 1."],
    [() => make(nn.Conv2d)(2, 2, 3, { pading: 1 }), 'Conv2d: expected the option padding. Received: "pading".'],
    [
      () => make(nn.BatchNorm1d)(2, { track_running_stats: false }),
      'BatchNorm1d: expected the option trackRunningStats. Received: "track_running_stats".',
    ],
    [
      () => make(nn.LayerNorm)(2, { elementwise_affine: false }),
      'LayerNorm: expected the option elementwiseAffine. Received: "elementwise_affine".',
    ],
    [
      () => make(nn.Embedding)(2, 2, { padding_idx: 0 }),
      'Embedding: expected the option paddingIdx. Received: "padding_idx".',
    ],
  ];
  for (const [run, message] of cases) fails(run, message);
});

test("groups may carry names of their own; a module is no list of parameters", () => {
  const optimizer = new optim.SGD([{ params: layer().parameters(), name: "head", depth: 3 }], { lr: 0.5 });
  assert.equal(optimizer.paramGroups[0]?.["name"], "head");
  assert.equal(optimizer.paramGroups[0]?.lr, 0.5);
  fails(
    () => make(optim.SGD)(layer(), { lr: 1 }),
    "SGD: expected params to be parameters, or groups { params, … }, as an array or another iterable. Received: an instance of Linear. Of a module take module.parameters().",
  );
});

test("names from a prototype are no options", () => {
  fails(
    () => checkOptions("f", { toString: 1 } as { a?: number }, { a: true }),
    'f: expected options among a. Received: "toString".',
  );
  checkOptions("f", { a: undefined }, { a: true });
});

test("values are of their kinds and in their ranges, before anything is done; undefined is not given", () => {
  const table = {
    eps: kinds.real("[0, 1)"),
    steps: kinds.whole("[1, ∞)"),
    on: kinds.flag,
    mode: kinds.oneOf("a", "b"),
    w: kinds.orNull(tensorKind),
    dtype: dtypeKind,
    sizes: kinds.listOf(kinds.whole("[0, 9]")),
    run: kinds.callable,
  };
  const check = (options: unknown): void => checkOptions("f", options as Record<string, never>, table as never);
  check({ eps: 0, steps: 3, on: false, mode: "b", w: null, dtype: "int8", sizes: [], run: () => 1 });
  check({ eps: undefined, on: undefined });
  check(Object.create({ eps: 0.5 }));
  const cases: readonly (readonly [unknown, string])[] = [
    [{ eps: 1 }, "f: expected eps to be a number in [0, 1). Received: 1."],
    [{ eps: NaN }, "f: expected eps to be a number in [0, 1). Received: NaN."],
    [{ eps: "0.5" }, 'f: expected eps to be a number in [0, 1). Received: "0.5".'],
    [{ eps: null }, "f: expected eps to be a number in [0, 1). Received: null."],
    [{ steps: 1.5 }, "f: expected steps to be a whole number ≥ 1. Received: 1.5."],
    [{ steps: Infinity }, "f: expected steps to be a whole number ≥ 1. Received: Infinity."],
    [{ on: 1 }, "f: expected on to be true or false. Received: 1."],
    [{ mode: "c" }, 'f: expected mode to be one of a, b. Received: "c".'],
    [{ w: [1] }, "f: expected w to be a tensor, or null. Received: [1]."],
    [{ dtype: "half" }, 'f: expected dtype to be a dtype such as "float32". Received: "half". Did you mean "float16"?'],
    [
      { sizes: [1, 10] },
      "f: expected sizes to be an array, every element a whole number from 0 to 9. Received: [1, 10].",
    ],
    [{ run: "x" }, 'f: expected run to be a function. Received: "x".'],
    [{ ep: 1 }, 'f: expected the option eps. Received: "ep".'],
    [
      new Map([["eps", 1]]),
      "f: expected options to be an object, such as { name: value }. Received: an instance of Map.",
    ],
    [zeros([1]), "f: expected options to be an object, such as { name: value }. Received: Tensor float32 [1] cpu."],
    [[1], "f: expected options to be an object, such as { name: value }. Received: [1]."],
    [Object.create({ epss: 1 }), 'f: expected the option eps. Received: "epss".'],
  ];
  for (const [options, message] of cases) fails(() => check(options), message);
});

test("arguments by position: as PyTorch orders them, or refused; nothing behind the last", () => {
  assert.deepEqual(new nn.MaxPool2d(3, 1).stride, [1, 1]);
  assert.deepEqual(new nn.MaxPool2d(3, 2, 1, 1, false, true).ceilMode, true);
  assert.equal(new nn.AvgPool2d(3, 1, 1, false, false).countIncludePad, false);
  assert.equal(new nn.GroupNorm(2, 4, 0.5).eps, 0.5);
  assert.equal(new nn.LayerNorm(4, 0.25, false).weight, null);
  assert.equal(new nn.RMSNorm(4, 0.25).eps, 0.25);
  assert.equal(new nn.BatchNorm2d(4, 0.25, 0.5, false).momentum, 0.5);
  assert.equal(new nn.Linear(2, 3, false).bias, null);
  assert.deepEqual(new nn.Conv2d(1, 2, 3, 2, 1).padding, [1, 1]);
  assert.deepEqual(new nn.Conv2d(1, 2, 3, 1, "same", 1).padding, "same");
  assert.equal(new nn.Embedding(5, 2, -1).paddingIdx, 4);
  assert.equal(new nn.Parameter(zeros([1]), false).requiresGrad, false);
  const cases: readonly (readonly [() => unknown, string])[] = [
    [() => make(nn.Dropout)({ q: 0.5 }), 'Dropout: expected the option p. Received: "q".'],
    [
      () => make(nn.Dropout)(0.5, true, 3),
      "Dropout: expected p, inplace by position, and nothing behind but options { name: value }. Received: 3 as argument 3.",
    ],
    [() => make(nn.ReLU)({ inplac: true }), 'ReLU: expected the option inplace. Received: "inplac".'],
    [
      () => make(nn.Sigmoid)({ inplace: true }),
      "Sigmoid: expected no arguments. Received: an object with keys inplace as argument 1.",
    ],
    [
      () => make(nn.Linear)(2, 3, false, "cpu"),
      'Linear: expected inFeatures, outFeatures, bias by position, and nothing behind but options { name: value }. Received: "cpu" as argument 4.',
    ],
    [
      () => make(nn.Linear)(2, 3, false, { bias: true }),
      "Linear: expected bias once. Received: bias by position and by name.",
    ],
    [() => make(nn.Linear)(2.5, 3), "Linear: expected inFeatures to be a whole number ≥ 1. Received: 2.5."],
    [
      () => make(nn.Conv2d)(1, 2, "3"),
      'Conv2d: expected kernelSize to be a whole number ≥ 1, or an array, every element a whole number ≥ 1. Received: "3".',
    ],
    [() => make(nn.MaxPool2d)(2, 2, 0, 1, 1), "MaxPool2d: expected returnIndices to be true or false. Received: 1."],
    [() => make(nn.Conv2d)(1, 2, 3, 2, "same"), 'Conv2d: expected a stride of 1 with padding "same". Received: 2.'],
    [
      () => make(nn.MaxPool2d)(2, { stride: 0 }),
      "MaxPool2d: expected stride to be a whole number ≥ 1, or an array, every element a whole number ≥ 1, or null. Received: 0.",
    ],
    [
      () => make(optim.StepLR)(new optim.SGD(layer().parameters()), 1, 0.1, -1, 5),
      "StepLR: expected optimizer, stepSize, gamma, lastEpoch by position, and nothing behind but options { name: value }. Received: 5 as argument 5.",
    ],
    [
      () => loosely(optim.clipGradNorm)(layer().parameters(), 1, 2, 2),
      "clipGradNorm: expected errorIfNonfinite to be true or false. Received: 2.",
    ],
    [
      () => layer().train({ mode: false } as never),
      "train: expected mode to be true or false. Received: an object with keys mode, where mode itself belongs.",
    ],
    [
      () => layer().loadStateDict({}, { strikt: false } as never),
      'loadStateDict: expected the option strict. Received: "strikt".',
    ],
    [
      () => zeros([1]).backward({ retain_graph: true } as never),
      'backward: expected the option retainGraph. Received: "retain_graph".',
    ],
  ];
  for (const [run, message] of cases) fails(run, message);
  assert.throws(() => make(optim.StepLR)(new optim.SGD(layer().parameters()), 1, { gama: 0.5 }), {
    code: "ERR_ARGUMENT",
    message: /gama/,
  });
});

test("a class without a constructor refuses arguments", () => {
  class Net extends nn.Module {
    forward(): number {
      return 1;
    }
  }
  fails(
    () => make(Net)({ hidden: 3 }),
    "Net: expected no arguments. Received: an object with keys hidden as argument 1.",
  );
  fails(() => make(class Stack extends nn.Sequential {})(1), "Stack: expected element 0 to be a Module. Received: 1.");
});

test("setGradEnabled switches, or runs a function with recording on or off", () => {
  assert.equal(
    setGradEnabled(false, () => isGradEnabled()),
    false,
  );
  assert.equal(isGradEnabled(), true);
  noGrad(() => {
    assert.equal(
      setGradEnabled(true, () => isGradEnabled()),
      true,
    );
    assert.equal(isGradEnabled(), false);
  });
  assert.throws(
    () =>
      setGradEnabled(false, () => {
        throw new Error("boom");
      }),
    /boom/,
  );
  assert.equal(isGradEnabled(), true);
  assert.equal(setGradEnabled(false), true);
  assert.equal(setGradEnabled(true), false);
  fails(() => loosely(setGradEnabled)(false, 3), "setGradEnabled: expected fn to be a function. Received: 3.");
  fails(() => loosely(setGradEnabled)(0), "setGradEnabled: expected on to be true or false. Received: 0.");
  fails(() => loosely(noGrad)(undefined), "noGrad: expected fn to be a function. Received: undefined.");
});

test("withDefaults: what was given, else the row's default or what it makes of the rest; undefined where there is none", () => {
  interface Options {
    readonly patience?: number;
    readonly limit?: number | null;
    readonly name?: string;
    readonly twice?: number;
    readonly extra?: object;
  }
  const table = {
    patience: kinds.byDefault(3, kinds.whole("[0, ∞)")),
    limit: kinds.byDefault(1, kinds.orNull(kinds.real())),
    name: kinds.text,
    twice: kinds.byDefault(({ patience = 3 }: Options) => 2 * patience, kinds.real()),
    extra: true,
  } as const;
  const fill = (options: Options): object => withDefaults(options, table);
  assert.deepEqual(fill({}), { patience: 3, limit: 1, name: undefined, twice: 6, extra: undefined });
  assert.deepEqual(fill({ patience: 0, limit: null, name: "" }), {
    patience: 0,
    limit: null,
    name: "",
    twice: 0,
    extra: undefined,
  });
  assert.deepEqual(fill({ patience: undefined, twice: 1 }), {
    patience: 3,
    limit: 1,
    name: undefined,
    twice: 1,
    extra: undefined,
  });
  assert.deepEqual(fill(Object.create({ patience: 5 }) as Options), {
    patience: 5,
    limit: 1,
    name: undefined,
    twice: 10,
    extra: undefined,
  });
  // Types: never undefined with a default, possibly so without.
  const { patience, name }: { readonly patience: number; readonly name: string | undefined } = withDefaults<
    Options,
    typeof table
  >({}, table);
  assert.deepEqual([patience, name], [3, undefined]);
  checkOptions<Options>("f", { patience: 1 }, table);
  fails(
    () => checkOptions<Options>("f", { patience: -1 }, table),
    "f: expected patience to be a whole number ≥ 0. Received: -1.",
  );
});
