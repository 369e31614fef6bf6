import assert from "node:assert/strict";
import { test } from "node:test";
import { nn, optim, ones, relu, scope, seedEverything, setNumThreads, type Tensor, tensor } from "@nbit/torch";
import { initialize, type OptLevel } from "./index.js";

setNumThreads(1); // tiny tensors

/** What the table of levels says, one row per level; each cell below is seen on a model, not read from the table. */
const CELLS = {
  O0: {
    castModelType: "float32",
    patchTorchFunctions: false,
    keepBatchnormFp32: true,
    masterWeights: false,
    lossScale: 1,
  },
  O1: {
    castModelType: "float32",
    patchTorchFunctions: true,
    keepBatchnormFp32: true,
    masterWeights: false,
    lossScale: 65536,
  },
  O2: {
    castModelType: "float16",
    patchTorchFunctions: false,
    keepBatchnormFp32: true,
    masterWeights: true,
    lossScale: 65536,
  },
  O3: {
    castModelType: "float16",
    patchTorchFunctions: false,
    keepBatchnormFp32: false,
    masterWeights: false,
    lossScale: 1,
  },
} as const;

class Net extends nn.Module {
  readonly fc = new nn.Linear(8, 16);
  readonly bn = new nn.BatchNorm1d(16);
  readonly out = new nn.Linear(16, 4);
  product = "";
  softmax = "";
  forward(x: Tensor): Tensor {
    const a = this.fc.forward(x);
    this.product = a.dtype;
    // An operator that only O1 puts in float32 while the product stays in float16.
    this.softmax = a.softmax(1).dtype;
    return this.out.forward(relu(this.bn.forward(a)));
  }
}

function make(optLevel: OptLevel): { net: Net; optimizer: optim.SGD; amp: ReturnType<typeof initialize> } {
  seedEverything(3);
  const net = new Net();
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  return { net, optimizer, amp: initialize(net, optimizer, { optLevel }) };
}

for (const [level, cells] of Object.entries(CELLS) as [OptLevel, (typeof CELLS)[OptLevel]][]) {
  test(`${level}, castModelType: weights are ${cells.castModelType}`, () => {
    assert.equal(make(level).net.fc.weight.dtype, cells.castModelType);
  });

  test(`${level}, patchTorchFunctions: operators ${cells.patchTorchFunctions ? "choose their dtype" : "run as their inputs are"}`, () =>
    scope(() => {
      const { net } = make(level);
      net.forward(ones([4, 8]));
      assert.equal(net.product === "float16" && net.softmax === "float32", cells.patchTorchFunctions);
      assert.equal(net.product === net.softmax, !cells.patchTorchFunctions);
    }));

  test(`${level}, keepBatchnormFp32: BatchNorm is ${cells.keepBatchnormFp32 ? "float32" : "float16"}`, () => {
    const { bn } = make(level).net;
    for (const t of [bn.weight, bn.bias, bn.runningMean, bn.runningVar])
      assert.equal(t?.dtype, cells.keepBatchnormFp32 ? "float32" : "float16");
  });

  test(`${level}, masterWeights: the optimizer steps ${cells.masterWeights ? "float32 copies" : "the model's own parameters"}`, () => {
    const { net, optimizer, amp } = make(level);
    const stepped = amp.masterParams(optimizer);
    assert.equal(stepped[0] !== net.fc.weight, cells.masterWeights);
    assert.equal(stepped[0]?.dtype, cells.masterWeights ? "float32" : cells.castModelType);
    assert.equal(amp.modelParams(optimizer)[0], net.fc.weight);
  });

  test(`${level}, lossScale: the loss is multiplied by ${cells.lossScale}, gradients are unscaled`, () =>
    scope(() => {
      const { net, optimizer, amp } = make(level);
      const loss = net
        .forward(ones([4, 8]))
        .float()
        .square()
        .mean();
      let scale = 0;
      amp.scaleLoss(loss, optimizer, (scaled) => {
        scale = scaled.div(loss).item();
        scaled.backward();
      });
      assert.equal(scale, cells.lossScale);
      const norm = amp.masterParams(optimizer)[5]?.grad?.float().norm().item() ?? NaN;
      assert.ok(norm > 1e-3 && norm < 10, `${norm}`);
    }));
}

test("every override changes what it names", () => {
  const of = (
    options: Parameters<typeof initialize>[2],
  ): { net: Net; amp: ReturnType<typeof initialize>; optimizer: optim.SGD } => {
    const net = new Net();
    const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
    return { net, optimizer, amp: initialize(net, optimizer, options) };
  };
  assert.equal(of({ optLevel: "O2", keepBatchnormFp32: false }).net.bn.weight?.dtype, "float16");
  assert.equal(of({ optLevel: "O3", keepBatchnormFp32: "True" }).net.bn.weight?.dtype, "float32");
  const bare = of({ optLevel: "O2", masterWeights: false });
  assert.equal(bare.amp.masterParams(bare.optimizer)[0], bare.net.fc.weight);
  const masters = of({ optLevel: "O3", masterWeights: true });
  assert.equal(masters.amp.masterParams(masters.optimizer)[0]?.dtype, "float32");
  const wide = of({ optLevel: "O2", castModelType: "bfloat16", lossScale: 1 });
  assert.equal(wide.net.fc.weight.dtype, "bfloat16");
  assert.equal(wide.amp.masterParams(wide.optimizer)[0]?.dtype, "float32");
  assert.equal(of({ optLevel: "O3", castModelType: "float32" }).net.fc.weight.dtype, "float32");
  assert.equal(of({ optLevel: "O1", patchTorchFunctions: false }).net.forward(ones([4, 8])).dtype, "float32");
  assert.equal(of({ optLevel: "O2", lossScale: "dynamic", maxLossScale: 4096 }).amp.lossScalers[0]?.lossScale, 4096);
  const floor = of({ optLevel: "O2", minLossScale: 65536 });
  assert.equal(floor.amp.lossScalers[0]?.update(true), true);
  assert.equal(floor.amp.lossScalers[0].lossScale, 65536);
  assert.deepEqual(of({ optLevel: "O0", numLosses: 3 }).amp.lossScalers.length, 3);
});

test("castModelOutputs casts the outputs at every level", () => {
  for (const optLevel of ["O0", "O1", "O2", "O3"] as const) {
    const net = new Net();
    const amp = initialize(net, [], { optLevel, castModelOutputs: "float64" });
    assert.equal(net.forward(ones([4, 8])).dtype, "float64", optLevel);
    amp.dispose();
    assert.equal(net.forward(ones([4, 8])).dtype, "float32", optLevel);
  }
  // O0 and O2 cast inputs too.
  const net = new Net();
  initialize(net, [], { optLevel: "O0" });
  assert.equal(net.forward(ones([4, 8], { dtype: "float64" })).dtype, "float32");
});

test("enabled: false changes nothing and passes the loss through", () => {
  const net = new Net();
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  const { step } = optimizer;
  const amp = initialize(net, optimizer, { optLevel: "O2", enabled: false });
  assert.equal(net.fc.weight.dtype, "float32");
  assert.equal(optimizer.step, step);
  const loss = tensor(2);
  amp.scaleLoss(loss, optimizer, (scaled) => assert.equal(scaled, loss));
  assert.deepEqual(amp.masterParams(optimizer), net.parameters());
  assert.deepEqual(amp.modelParams(optimizer), net.parameters());
  assert.equal(amp.scale(loss), loss);
  amp.dispose();
});

test("misuse of initialize is an error", () => {
  const net = new Net();
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  const bad = (options: object, message: RegExp): void =>
    assert.throws(() => initialize(net, optimizer, options), { code: "ERR_ARGUMENT", message });
  bad({ opt_level: "O2" }, /^apex\.initialize: expected the option optLevel\. Received: "opt_level"\.$/);
  bad({ optLevel: "O4" }, /optLevel to be one of O0, O1, O2, O3\. Received: "O4"/);
  bad({ enabled: "no" }, /enabled to be true or false\. Received: "no"/);
  bad({ numLosses: 0 }, /numLosses to be a whole number ≥ 1\. Received: 0/);
  bad({ castModelOutputs: "int64" }, /castModelOutputs to be a floating point dtype, or null\. Received: "int64"/);
  bad(
    { optLevel: "O2", castModelType: "int8" },
    /castModelType to be one of float16, bfloat16, float32\. Received: "int8"/,
  );
  bad({ optLevel: "O2", masterWeights: "True" }, /masterWeights to be a boolean\. Received: "True"/);
  bad(
    { optLevel: "O2", keepBatchnormFp32: "yes" },
    /keepBatchnormFp32 to be a boolean, "True" or "False"\. Received: "yes"/,
  );
  bad({ optLevel: "O1", patchTorchFunctions: 1 }, /patchTorchFunctions to be a boolean\. Received: 1/);
  bad({ optLevel: "O2", maxLossScale: 0 }, /maxLossScale to be a finite number > 0\. Received: 0/);
  bad({ optLevel: "O2", minLossScale: -1 }, /minLossScale to be a finite number ≥ 0, or null\. Received: -1/);
  bad({ optLevel: "O2", minLossScale: 2 ** 25 }, /minLossScale ≤ maxLossScale/);
  assert.equal(net.fc.weight.dtype, "float32", "nothing was cast");

  const amp = initialize(net, optimizer, { optLevel: "O2" });
  assert.throws(() => initialize(net), {
    code: "APEX_MISUSE",
    message:
      "apex.initialize: expected a model that is not initialized. Received: Net, which is. Pass everything in one call, or dispose() of the first Amp.",
  });
  assert.throws(() => initialize(new Net(), optimizer), {
    code: "APEX_MISUSE",
    message: /an optimizer that is not initialized\. Received: SGD/,
  });
  amp.dispose();
  initialize(net, optimizer, { optLevel: "O1" }).dispose();
});
