import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cuda,
  deepcopy,
  initialSeed,
  nn,
  OutOfMemoryError,
  rand,
  randn,
  scope,
  tensor,
  type Tensor,
  zeros,
} from "@nbit/torch";
import {
  findSharedParameters,
  findUsableCudaDevices,
  garbageCollectionCuda,
  gradNorm,
  isolateRng,
  isOomError,
  moveDataToDevice,
  rankZeroDeprecation,
  recursiveDetach,
  seedEverything,
  setSharedParameters,
  suggestedMaxNumWorkers,
} from "../index.js";

class Tied extends nn.Module {
  encoder = new nn.Linear(3, 3);
  decoder = new nn.Linear(3, 3);
  others = new nn.ModuleList([new nn.Linear(3, 3), new nn.Linear(3, 3)]);
  constructor() {
    super();
    this.decoder.weight = this.encoder.weight;
    const [first, second] = this.others;
    if (first === undefined || second === undefined) throw new Error("two layers");
    second.bias = first.bias;
  }
  forward(x: Tensor): Tensor {
    return this.decoder.forward(this.encoder.forward(x));
  }
}

test("shared parameters are found by name, and tied again", () => {
  const model = new Tied();
  const shared = findSharedParameters(model);
  assert.deepEqual(shared, [
    ["encoder.weight", "decoder.weight"],
    ["others.0.bias", "others.1.bias"],
  ]);
  model.decoder.weight = new nn.Parameter(zeros([3, 3]));
  assert.deepEqual(findSharedParameters(model), shared.slice(1));
  assert.equal(setSharedParameters(model, shared), model);
  assert.equal(model.decoder.weight, model.encoder.weight);
  assert.throws(() => setSharedParameters(model, [["encoder.weight", "nowhere.weight"]]), /nowhere/);
  assert.throws(() => setSharedParameters(model, [["encoder.weight", "decoder.scale"]]), { code: "ERR_ARGUMENT" });
});

test("norms of gradients, with Lightning's names", () => {
  scope(() => {
    const model = new nn.Linear(2, 1);
    assert.deepEqual(gradNorm(model, 2), {});
    model.weight.grad = tensor([[3, 4]]);
    (model.bias as Tensor).grad = tensor([12]);
    const norms = gradNorm(model, 2);
    assert.deepEqual(Object.keys(norms), ["grad_2.0_norm/weight", "grad_2.0_norm/bias", "grad_2.0_norm_total"]);
    assert.deepEqual(
      Object.values(norms).map((t) => t.item()),
      [5, 12, 13],
    );
    assert.equal(gradNorm(model, "inf", ".")["grad_inf_norm_total"]?.item(), 12);
    assert.equal(gradNorm(model, 1, ".")["grad_1.0_norm.weight"]?.item(), 7);
    for (const p of [0, -1, NaN]) assert.throws(() => gradNorm(model, p), { code: "ERR_ARGUMENT" });
  });
});

test("what is drawn in isolation is as if it had not been drawn", async () => {
  seedEverything(4);
  const next = rand([3]).tolist();
  seedEverything(4);
  assert.equal(
    isolateRng(() => rand([5]).numel()),
    5,
  );
  const later = isolateRng(async () => {
    rand([2]);
    await new Promise((resolve) => setTimeout(resolve, 1));
    return rand([2]).numel();
  });
  assert.equal(await later, 2);
  assert.throws(() =>
    isolateRng(() => {
      rand([2]);
      throw new Error("within");
    }),
  );
  assert.deepEqual(rand([3]).tolist(), next);
});

test("the seed is that of the environment where none is given", () => {
  const before = process.env["NBIT_GLOBAL_SEED"];
  try {
    delete process.env["NBIT_GLOBAL_SEED"];
    assert.equal(seedEverything(), 0);
    assert.equal(seedEverything(7, { workers: true }), 7);
    assert.equal(process.env["NBIT_GLOBAL_SEED"], "7");
    assert.equal(seedEverything({ verbose: false }), 7);
    assert.equal(initialSeed(), 7n);
    process.env["NBIT_GLOBAL_SEED"] = "seven";
    assert.throws(() => seedEverything(), /NBIT_GLOBAL_SEED to be a whole number from 0 to 4294967295/);
    assert.throws(() => seedEverything(-1), { code: "ERR_ARGUMENT" });
  } finally {
    if (before === undefined) delete process.env["NBIT_GLOBAL_SEED"];
    else process.env["NBIT_GLOBAL_SEED"] = before;
  }
});

test("data moves with all that is in it, objects that know how among them", () => {
  const t = zeros([2]);
  const batch = { a: [t, "x"], b: new Map([["c", t]]) };
  assert.equal(moveDataToDevice(batch, "cpu").a[0], t);
  class Boxes {
    constructor(readonly place = "nowhere") {}
    to(device: unknown): Boxes {
      return new Boxes(String(device));
    }
  }
  const moved = moveDataToDevice({ t, own: new Boxes(), n: 1 }, "meta");
  assert.deepEqual([moved.t.device.type, moved.own.place, moved.n], ["meta", "meta", 1]);
  const packed = nn.utils.rnn.packSequence([zeros([2, 1]), zeros([1, 1])]);
  assert.equal(moveDataToDevice({ packed }, "meta").packed.data.device.type, "meta");
  assert.throws(() => moveDataToDevice(batch, "gpu0"));

  const live = randn([2], { requiresGrad: true });
  const detached = recursiveDetach({ live, deep: [live] }, true);
  assert.deepEqual([detached.live.requiresGrad, detached.deep[0]?.requiresGrad], [false, false]);
});

test("workers that a machine has room for", () => {
  assert.ok(suggestedMaxNumWorkers(1) >= 1);
  assert.equal(suggestedMaxNumWorkers(10_000), 1);
  assert.throws(() => suggestedMaxNumWorkers(0), { code: "ERR_ARGUMENT" });
});

test("usable GPUs, or an error that counts them", { skip: cuda.isAvailable() }, () => {
  assert.deepEqual(findUsableCudaDevices(0), []);
  assert.throws(() => findUsableCudaDevices(2), /2 CUDA devices that can be used. Received: "?0 of 0/);
  assert.throws(() => findUsableCudaDevices(), { code: "ERR_NO_DEVICE" });
});

test("an error of memory is known, and memory is given back", () => {
  assert.throws(() => zeros([2 ** 52]), isOomError);
  assert.equal(isOomError(new Error("out of memory")), false);
  assert.ok(OutOfMemoryError.prototype instanceof Error);
  garbageCollectionCuda();
});

test("a deprecation is Node's", async () => {
  const heard = new Promise<Error>((resolve) => process.once("warning", resolve));
  rankZeroDeprecation("old: write new", "DEP_OLD");
  const warning = await heard;
  assert.deepEqual([warning.name, warning.message], ["DeprecationWarning", "old: write new"]);
});

test("a copy of a tied module stays tied", () => {
  assert.equal(findSharedParameters(deepcopy(new Tied())).length, 2);
});
