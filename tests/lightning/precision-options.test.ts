/** Which precision a Trainer is made with. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ApexPrecision,
  CPUAccelerator,
  DoublePrecision,
  FullPrecision,
  HalfPrecision,
  MixedPrecision,
  TPUAccelerator,
} from "@nbit/lightning";
import type { DeviceSupport } from "@nbit/lightning";
import { amp } from "@nbit/torch";
import { PretendedGPU } from "../helpers/pretended-gpu.js";
import { warningsOf } from "../helpers/training.js";
import { make, fails } from "./make-trainer.js";

const SPELLINGS = [
  [undefined, "32-true", FullPrecision],
  [32, "32-true", FullPrecision],
  ["32", "32-true", FullPrecision],
  ["32-true", "32-true", FullPrecision],
  [64, "64-true", DoublePrecision],
  ["64", "64-true", DoublePrecision],
  ["64-true", "64-true", DoublePrecision],
  [16, "16-mixed", MixedPrecision],
  ["16", "16-mixed", MixedPrecision],
  ["16-mixed", "16-mixed", MixedPrecision],
  ["bf16", "bf16-mixed", MixedPrecision],
  ["bf16-mixed", "bf16-mixed", MixedPrecision],
  ["16-true", "16-true", HalfPrecision],
  ["bf16-true", "bf16-true", HalfPrecision],
] as const;

for (const [spelling, name, plugin] of SPELLINGS) {
  test(`precision ${JSON.stringify(spelling)} is ${name}`, () => {
    const trainer = make({ accelerator: "cpu", ...(spelling === undefined ? {} : { precision: spelling }) });
    assert.equal(trainer.precision.name, name);
    assert.ok(trainer.precision instanceof plugin);
    assert.equal(trainer.lossScale, name === "16-mixed" ? 65536 : null);
  });
}

test("an unknown precision lists those that exist", () => {
  fails(
    { precision: 8 },
    "ERR_PRECISION_UNKNOWN",
    'Trainer: expected precision to be one of 32, "32", "32-true", 64, "64", "64-true", 16, "16", "16-mixed", "bf16", "bf16-mixed", "16-true", "bf16-true", "float8", "transformer-engine", "float8-float16", "transformer-engine-float16", "auto". Received: 8.',
  );
  fails({ precision: "fp16" }, "ERR_PRECISION_UNKNOWN", /Received: "fp16"\. Did you mean 16\?$/);
});

test("precision is given as an option or as a plugin, not as both", () => {
  fails(
    { precision: 16, plugins: new MixedPrecision() },
    "ERR_PRECISION_TWICE",
    "Trainer: expected precision as an option or as a plugin, not both. Received: precision: 16 and MixedPrecision. Remove one of them.",
  );
  fails(
    { plugins: [new MixedPrecision(), new FullPrecision()] },
    "ERR_PRECISION_TWICE",
    /at most one precision plugin/,
  );
  fails(
    { plugins: [new FullPrecision()], ampBackend: "native" },
    "ERR_PRECISION_TWICE",
    /neither ampBackend nor ampLevel/,
  );
});

test("a plugin takes settings of the scaler", () => {
  const trainer = make({ accelerator: "cpu", plugins: [new MixedPrecision({ scaler: { initScale: 1024 } })] });
  assert.equal(trainer.lossScale, 1024);
});

test("a scaler is for float16 only", () => {
  for (const scaler of [{ initScale: 2 }, new amp.GradScaler({ device: "cpu" })]) {
    assert.throws(() => new MixedPrecision({ precision: "bf16-mixed", scaler }), {
      code: "ERR_PRECISION_SCALER",
      message: /no scaler with precision "bf16-mixed"\. .*leave the scaler out\.$/,
    });
  }
  for (const precision of ["32-true", "64-true"]) {
    assert.throws(() => Reflect.construct(MixedPrecision, [{ precision, scaler: {} }]), {
      code: "ERR_PRECISION_PLUGIN",
      message: /precision to be "16-mixed" or "bf16-mixed"/,
    });
  }
});

test("ampBackend and ampLevel are checked", () => {
  fails(
    { ampBackend: "horovod" },
    "ERR_AMP_BACKEND",
    'Trainer: expected ampBackend to be one of "native", "apex". Received: "horovod".',
  );
  fails(
    { precision: 16, ampLevel: "O2" },
    "ERR_AMP_LEVEL",
    'Trainer: expected ampLevel only with ampBackend: "apex". Received: "O2". Add ampBackend: "apex", or remove ampLevel.',
  );
  fails(
    { precision: 16, ampBackend: "apex", ampLevel: "O4" },
    "ERR_AMP_LEVEL",
    'Trainer: expected ampLevel to be one of "O0", "O1", "O2", "O3". Received: "O4".',
  );
  fails(
    { precision: "bf16", ampBackend: "apex" },
    "ERR_PRECISION_APEX",
    'Trainer: expected precision "bf16" only with the native backend. Received: ampBackend: "apex". Remove ampBackend, or use precision: 16.',
  );
  fails(
    { precision: "auto", ampBackend: "apex" },
    "ERR_PRECISION_APEX",
    /Received: "auto"\. Remove ampBackend, or use precision: 16\.$/,
  );
  fails(
    { accelerator: "tpu", precision: 16, ampBackend: "apex" },
    "ERR_PRECISION_APEX",
    'Trainer: expected an accelerator that has 16-mixed with ampBackend: "apex". Received: "tpu". Remove ampBackend, or use another accelerator.',
  );
  for (const precision of ["16-true", "bf16-true", "64-true", "32-true", 64, 32]) {
    fails(
      { precision, ampBackend: "apex" },
      "ERR_PRECISION_APEX",
      /precision 16 with ampBackend: "apex".*A true precision has no mixed parts: remove ampBackend\.$/,
    );
  }
});

test("ampBackend: apex is APEX at the level asked for, O2 unless told", () => {
  for (const [options, level] of [
    [{}, "O2"],
    [{ precision: 16 }, "O2"],
    [{ precision: "16-mixed", ampLevel: "O1" }, "O1"],
    [{ ampLevel: "O0" }, "O0"],
    [{ ampLevel: "O3" }, "O3"],
  ] as const) {
    const { precision } = make({ accelerator: "cpu", ampBackend: "apex", ...options });
    assert.ok(precision instanceof ApexPrecision);
    assert.equal(precision.options.optLevel, level);
    assert.deepEqual(precision.explain({ print: false }).reasons, [`ampBackend "apex" at level ${level}`]);
  }
  assert.ok(make({ accelerator: "cpu", precision: 16, ampBackend: "native" }).precision instanceof MixedPrecision);
});

test("a TPU has bfloat16 for float16, and no float64", async () => {
  fails(
    { accelerator: "tpu", precision: 64 },
    "ERR_PRECISION_TPU_DOUBLE",
    'Trainer: expected precision 32, 16 or "bf16" on a TPU. Received: 64. TPUs do not compute in float64; use accelerator: "cpu" for it.',
  );
  const warnings = await warningsOf(() => {
    for (const precision of [16, "bf16", 32])
      fails(
        { accelerator: "tpu", precision },
        "ERR_ACCELERATOR_UNAVAILABLE",
        /accelerator "tpu" to be usable here.*a TPU: this machine shows none/,
      );
  });
  assert.deepEqual(warnings, [
    {
      code: "WARN_PRECISION_MAPPED",
      message: 'precision: 16 on a TPU runs bfloat16, its only 16-bit type. Write precision: "bf16" to say so.',
    },
  ]);
  assert.deepEqual(new TPUAccelerator().mapPrecision("16-true"), {
    name: "bf16-true",
    warning:
      'precision: "16-true" on a TPU runs bfloat16, its only 16-bit type. Write precision: "bf16-true" to say so.',
  });
  for (const name of ["32-true", "bf16-mixed", "bf16-true"] as const)
    assert.deepEqual(new TPUAccelerator().mapPrecision(name), { name });
});

test("bfloat16 on a GPU older than 8.0 is emulated, and says so", async () => {
  const old = new PretendedGPU(
    () => [7, 5],
    () => "NVIDIA T4",
  );
  const warnings = await warningsOf(() => make({ accelerator: old, precision: "bf16" }));
  assert.deepEqual(warnings, [
    {
      code: "WARN_PRECISION_EMULATED",
      message:
        'precision "bf16-mixed": cuda (NVIDIA T4, compute capability 7.5) emulates bfloat16 arithmetic. It is correct but slow; precision: 16 is faster here.',
    },
  ]);
  assert.deepEqual(
    await warningsOf(() => make({ accelerator: new PretendedGPU(() => [8, 0]), precision: "bf16" })),
    [],
  );
  assert.equal(make({ accelerator: old, precision: "auto" }).precision.name, "16-mixed");
});

test("precision auto chooses by what the device computes natively", () => {
  const choose = (support: Partial<DeviceSupport>): string => {
    class Fake extends CPUAccelerator {
      override support(): DeviceSupport {
        return { float16: false, bfloat16: false, float8: false, description: "test", ...support };
      }
    }
    const { name, reasons, requested } = make({ accelerator: new Fake(), precision: "auto" }).precision.explain({
      print: false,
    });
    assert.equal(requested, "auto");
    return `${name}: ${reasons.join("; ")}`;
  };
  assert.equal(
    choose({ bfloat16: true, float16: true }),
    "bf16-mixed: auto: cpu computes bfloat16 natively, which needs no loss scaling",
  );
  assert.equal(choose({ float16: true }), "16-mixed: auto: cpu computes float16 natively but not bfloat16");
  assert.equal(choose({}), "32-true: auto: cpu has no native 16-bit arithmetic");
});

test("emulated 16-bit arithmetic warns once, with a faster precision", async () => {
  class Fake extends CPUAccelerator {
    constructor(readonly bfloat16: boolean) {
      super();
    }
    override support(): DeviceSupport {
      return { float16: false, bfloat16: this.bfloat16, float8: false, description: `test ${this.bfloat16}` };
    }
  }
  const warnings = await warningsOf(() => {
    for (let i = 0; i < 3; i++) make({ accelerator: new Fake(true), precision: 16 });
    make({ accelerator: new Fake(true), precision: "bf16" });
    make({ accelerator: new Fake(false), precision: "16-true" });
  });
  assert.deepEqual(warnings, [
    {
      code: "WARN_PRECISION_EMULATED",
      message:
        'precision "16-mixed": cpu (test true) computes float16 in float32, which saves memory and not time; precision: "bf16" is faster here.',
    },
    {
      code: "WARN_PRECISION_EMULATED",
      message:
        'precision "16-true": cpu (test false) computes float16 in float32, which saves memory and not time; precision: 32 is faster here.',
    },
  ]);
});

test("a plugin is a Precision, for the Trainer's device, in a precision that the device has", () => {
  fails(
    { plugins: ["bf16"] },
    "ERR_PRECISION_PLUGIN",
    'Trainer: expected plugins to be precisions, such as new MixedPrecision(), and a CheckpointIO. Received: "bf16". Give the name of a precision as precision.',
  );
  fails({ plugins: [new FullPrecision(), {}] }, "ERR_PRECISION_PLUGIN", /^Trainer: expected plugins to be precisions/);
  fails(
    { plugins: new MixedPrecision({ precision: "bf16-mixed", device: "cuda" }) },
    "ERR_PRECISION_DEVICE",
    'Trainer: expected a precision plugin for "cpu", the accelerator\'s device. Received: MixedPrecision for "cuda". Leave the device out: it is taken from the Trainer.',
  );
  const elsewhere = new MixedPrecision({ scaler: new amp.GradScaler() });
  assert.throws(() => elsewhere.onDevice("cuda"), {
    code: "ERR_PRECISION_DEVICE",
    message:
      'Trainer: expected a precision plugin for "cuda", the accelerator\'s device. Received: a scaler for "cpu". Leave its device out by giving the scaler\'s settings instead of a scaler.',
  });
  fails(
    { accelerator: "tpu", plugins: new MixedPrecision() },
    "ERR_PRECISION_PLUGIN",
    "Trainer: expected a precision that tpu has. Received: MixedPrecision in 16-mixed. Give a plugin in bf16-mixed.",
  );
  fails(
    { accelerator: "tpu", plugins: new DoublePrecision() },
    "ERR_PRECISION_TPU_DOUBLE",
    /TPUs do not compute in float64/,
  );
  fails(
    { accelerator: "tpu", plugins: new FullPrecision() },
    "ERR_ACCELERATOR_UNAVAILABLE",
    /a TPU: this machine shows none/,
  );
});

test("a plugin made for no device takes the Trainer's", () => {
  const plugin = new MixedPrecision({ precision: "bf16-mixed" });
  const regions = (): string =>
    ["cpu", "cuda"].filter((type) => plugin.forward(() => amp.isAutocastEnabled(type))).join();
  assert.equal(regions(), "cpu");
  plugin.onDevice("cuda");
  assert.equal(regions(), "cuda");
  assert.equal(
    plugin.forward(() => plugin.outside(() => amp.isAutocastEnabled("cuda"))),
    false,
  );
});
