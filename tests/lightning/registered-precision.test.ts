/**
 * A precision of a third party: one file, one call, and everything knows it. A process of its own, since it changes the
 * catalogue.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  availablePrecisions,
  HalfPrecision,
  LightningModule,
  Precision,
  precisionFor,
  registerPrecision,
  Trainer,
} from "@nbit/lightning";
import type { PrecisionDTypes, PrecisionEntry } from "@nbit/lightning";
import { amp, nn, optim, randn, seedEverything } from "@nbit/torch";
import type { DType, Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

// The third party's file.

declare module "@nbit/lightning" {
  interface PrecisionNames {
    "clipped-mixed": "clipped" | 19;
  }
}

const DTYPES: PrecisionDTypes = {
  parameters: "float32",
  compute: "bfloat16",
  gradients: "float32",
  optimizerState: "float32",
  checkpoint: "float32",
};

/** bfloat16 autocast, and losses that are never above 1. */
class ClippedPrecision extends Precision {
  readonly name = "clipped-mixed";
  readonly dtypes = DTYPES;
  device = "";
  override onDevice(deviceType: string): void {
    this.device = deviceType;
  }
  override forward<T>(fn: () => T): T {
    return amp.autocast({ deviceType: this.device, dtype: "bfloat16", cacheEnabled: false }, fn);
  }
  override scaleLoss(loss: Tensor): Tensor {
    return loss.clamp({ max: 1 });
  }
}

const ENTRY: PrecisionEntry<"clipped-mixed"> = {
  name: "clipped-mixed",
  aliases: [19, "clipped"],
  otherNames: ["clip16"],
  dtypes: DTYPES,
  needs: "float8",
  uniformWeights: true,
  scalesLoss: false,
  label: "clipped",
  summary: "autocast to bfloat16 with clipped losses",
  plugin: ClippedPrecision,
  create: () => new ClippedPrecision(),
};
registerPrecision(ENTRY);

// Its users.

const BATCHES = [randn([8, 4]), randn([8, 4])];
const seen = new Map<string, DType>();

class Layer extends nn.Module {
  readonly fc = new nn.Linear(4, 4);
  constructor(readonly path: string) {
    super();
  }
  forward(x: Tensor): Tensor {
    const y = this.fc.forward(x);
    seen.set(this.path, y.dtype);
    return y;
  }
}
class Net extends LightningModule {
  readonly body = new Layer("body");
  readonly head = new Layer("head");
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.body.forward(x));
  }
  override trainingStep(x: Tensor): Tensor {
    return this.forward(x).float().square().mean();
  }
  override validationStep(x: Tensor): void {
    const { dtype } = this.forward(x);
    seen.set("validation", dtype);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}

test("the Trainer's option takes its name and its aliases, and trains in it", async () => {
  for (const precision of ["clipped-mixed", "clipped", 19] as const) {
    seedEverything(1);
    const trainer = new Trainer({ ...QUIET, maxEpochs: 1, precision });
    assert.ok(trainer.precision instanceof ClippedPrecision);
    assert.equal(trainer.precision.device, "cpu");
    const model = new Net();
    const before = model.head.fc.weight.tolist();
    await trainer.fit(model, { trainDataloaders: BATCHES });
    assert.equal(seen.get("body"), "bfloat16");
    assert.notDeepEqual(model.head.fc.weight.tolist(), before);
    const table = trainer.precision.explain({ print: false });
    assert.deepEqual([table.requested, table.name, table.plugin], [precision, "clipped-mixed", "ClippedPrecision"]);
    assert.match(table.toString(), /^asked +(clipped-mixed|clipped|19)\nruns +clipped-mixed \(ClippedPrecision\)$/m);
  }
});

test("validation runs in a registered precision beside training in another, and the other way round", async () => {
  const dtypes: (DType | undefined)[] = [];
  for (const [precision, validationPrecision] of [
    [64, "clipped"],
    ["clipped", 64],
  ] as const) {
    const trainer = new Trainer({ ...QUIET, maxEpochs: 1, precision, validationPrecision });
    const model = new Net();
    await trainer.fit(model, { trainDataloaders: BATCHES, valDataloaders: BATCHES });
    dtypes.push(seen.get("validation"));
    assert.equal(model.head.fc.weight.dtype, precision === 64 ? "float64" : "float32");
  }
  assert.deepEqual(dtypes, ["bfloat16", "float64"]);
});

test("a part of a model runs in a registered precision, and explain says so", async () => {
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1, plugins: precisionFor({ head: "clipped" }) });
  await trainer.fit(new Net(), { trainDataloaders: BATCHES });
  assert.deepEqual([seen.get("body"), seen.get("head")], ["float32", "bfloat16"]);
  assert.deepEqual(trainer.precision.explain({ print: false }).modules, [["head", "clipped-mixed"]]);
  const base = new Trainer({ ...QUIET, maxEpochs: 1, plugins: precisionFor({ head: 32 }, { base: "clipped" }) });
  await base.fit(new Net(), { trainDataloaders: BATCHES });
  assert.deepEqual([seen.get("body"), seen.get("head")], ["bfloat16", "float32"]);
});

test("error messages list a registered precision", () => {
  assert.equal(availablePrecisions().at(-1)?.name, "clipped-mixed");
  // @ts-expect-error: TypeScript knows the names, too.
  assert.throws(() => new Trainer({ ...QUIET, precision: "clipped-true" }), { code: "ERR_PRECISION_UNKNOWN" });
  const fails = (precision: string, message: RegExp): void => {
    assert.throws(() => new Trainer({ ...QUIET, precision: precision as "clipped" }), {
      code: "ERR_PRECISION_UNKNOWN",
      message,
    });
  };
  fails(
    "cliped",
    /"float8-float16", "transformer-engine-float16", 19, "clipped", "clipped-mixed", "auto"\. Received: "cliped"\. Did you mean "clipped"\?$/,
  );
  fails("clip16", /Did you mean 19\?$/);
});

test("an entry is checked before it is added", () => {
  const rejects = (entry: unknown, message: RegExp): void => {
    assert.throws(() => registerPrecision(entry as PrecisionEntry), { code: "ERR_PRECISION_ENTRY", message });
  };
  const { label: _, ...unlabelled } = ENTRY;
  rejects(unlabelled, /^registerPrecision: expected label to be a string that is not empty\. Received: undefined/);
  rejects({ ...ENTRY, lable: "clipped" }, /expected the option label\. Received: "lable"/);
  rejects({ ...ENTRY, dtypes: { ...DTYPES, compute: "float19" } }, /dtypes/);
  rejects({ ...ENTRY, plugin: Net }, /expected plugin to be a class that extends Precision/);
  rejects(
    { ...ENTRY, name: "mine", aliases: [16] },
    /^registerPrecision: expected spellings of its own\. Received: 16, which is 16-mixed\.$/,
  );
  rejects({ ...ENTRY, name: "auto", aliases: [] }, /Received: "auto", which is auto/);
  assert.throws(() => registerPrecision("nobody's" as "clipped", () => new ClippedPrecision()), {
    code: "ERR_PRECISION_UNKNOWN",
  });
  assert.equal(
    availablePrecisions().at(-1),
    availablePrecisions().find(({ name }) => name === "clipped-mixed"),
  );
});

test("registerPrecision replaces the factory of a name, and the factory's result is checked", () => {
  class Mine extends HalfPrecision {}
  registerPrecision("clipped", () => new Mine("bf16-true"));
  assert.ok(new Trainer({ ...QUIET, precision: "clipped" }).precision instanceof Mine);
  registerPrecision("clipped", () => new Layer("none") as object as Precision);
  assert.throws(() => new Trainer({ ...QUIET, precision: "clipped" }), {
    code: "ERR_PRECISION_PLUGIN",
    message: /to return a Precision\. Received: an instance of Layer/,
  });
});
