import { family } from "../family.js";

export const precision = family(
  "precision",
  {
    title: "Precision",
    brief: "Autocast, loss scaling, precisions of the Trainer, float8, adapters and APEX.",
    by: "MisconfigurationError",
    in: ["lightning"],
  },
  {
    AMP_BANNED: {
      means: "Under this policy the operator must not run in 16 bits, and it got a 16-bit tensor.",
      cause: "Binary cross entropy of probabilities under autocast or APEX O1: its logarithms overflow in float16.",
      fix: "Use the form on logits (`binaryCrossEntropyWithLogits`), or run it within `autocast(device, { enabled: false }, …)` on float32.",
      by: "TorchError",
      in: ["native"],
      example: `import { amp, autocast, ones } from "@nbit/torch";
const a = ones([2, 2]);
autocast({ dtype: "bfloat16" }, () => {
  const half = a.mm(a);
  amp.policy({ mm: "banned" }, () => half.mm(half));
});`,
    },
    AMP_CUSTOM_BWD: {
      means: "`customBwd` was given a forward that `customFwd` did not wrap.",
      cause: "Only the backward of a Function was wrapped.",
      fix: "Write `static forward = customFwd(…)` too.",
      by: "NbitError",
      in: ["torch"],
    },
    AMP_NO_DEVICE: {
      means: "The autocast policies of CUDA can be asked where there is a CUDA device only.",
      cause: '`amp.policyTable("cuda")` on a machine without a GPU.',
      fix: "Ask on a machine with one, or read [autocast.md](../autocast.md).",
      by: "NbitError",
      in: ["torch"],
    },
    APEX_MISUSE: {
      means: "APEX's functions were called in an order that they do not have.",
      cause: "`scaleLoss` with an optimizer that `initialize` did not return; `initialize` twice.",
      fix: "Initialize models and optimizers once, together, before training.",
      by: "NbitError",
      in: ["apex"],
    },
    AUTOCAST_ASYNC: {
      means: "`autocast` was given an asynchronous function.",
      cause: '`autocast("cuda", async () => …)`: code after an `await` would run outside the region.',
      fix: "Open the region inside the asynchronous function, around its synchronous parts.",
      by: "NbitError",
      in: ["torch"],
      example: `import { autocast } from "@nbit/torch";
autocast("cpu", async () => {});`,
    },
    ERR_AMP_BACKEND: {
      means: "`ampBackend` names no backend.",
      cause: "A misspelling.",
      fix: 'Use "native" or "apex".',
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ ampBackend: "amp" });`,
    },
    ERR_AMP_LEVEL: {
      means: "`ampLevel` is no level of APEX, or there is no APEX for it.",
      cause: '`ampLevel` without `ampBackend: "apex"`.',
      fix: "Add the backend, or remove the level.",
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ ampLevel: "O2" });`,
    },
    ERR_PRECISION_APEX: {
      means: "This precision and APEX do not go together.",
      cause: '`ampBackend: "apex"` with a precision or accelerator that it does not have.',
      fix: "Remove `ampBackend`, or choose precision 16.",
    },
    ERR_PRECISION_CLOSURE: {
      means: "A loss scaler cannot follow an optimizer that evaluates the loss several times per step.",
      cause: "LBFGS with precision 16.",
      fix: 'Use "bf16-mixed", or another optimizer.',
    },
    ERR_PRECISION_DEVICE: {
      means: "A precision plugin, or its scaler, was made for another device than the Trainer's.",
      cause: '`new MixedPrecision({ precision: "16-mixed", device: "cuda" })` with `accelerator: "cpu"`.',
      fix: "Leave the device out: it is taken from the Trainer.",
    },
    ERR_PRECISION_ENTRY: {
      means: "`registerPrecision` got an entry that is incomplete, or has fields that it does not know.",
      cause: "A misspelt field.",
      fix: "The message names the field.",
    },
    ERR_PRECISION_FROZEN: {
      means: "All parameters are quantized and frozen: nothing could learn.",
      cause: "QuantizedPrecision without adapters.",
      fix: "Add adapters with `addLora(module, { rank })`, or leave layers out with `filter`.",
    },
    ERR_PRECISION_LINT: {
      means: "PrecisionLint, set to raise, found code that harms precision.",
      cause: "Casts by hand, nested autocast regions, an epsilon that vanishes in float16.",
      fix: "The message lists each with its line and a fix.",
      by: "PrecisionLintError",
    },
    ERR_PRECISION_PATTERN: {
      means: "`precisionFor` has a pattern that matches nothing, or two that match equally well.",
      cause: "A misspelt path; `*` stands for one part of a dotted name only.",
      fix: "Use `**` for any number of parts, and name single modules themselves.",
    },
    ERR_PRECISION_PLUGIN: {
      means: "A precision plugin got options that it does not take, or is used outside of a Trainer.",
      cause: "A misspelt option; a method that was called by hand.",
      fix: "Pass the plugin in `plugins`, with the options that the message lists.",
      example: `import { MixedPrecision } from "@nbit/lightning";
new MixedPrecision({ precison: "16-mixed" });`,
    },
    ERR_PRECISION_SCALER: {
      means: "bfloat16 needs no loss scaler.",
      cause: '`scaler` with "bf16-mixed".',
      fix: "Leave it out.",
      example: `import { MixedPrecision } from "@nbit/lightning";
import { amp } from "@nbit/torch";
new MixedPrecision({ precision: "bf16-mixed", scaler: new amp.GradScaler({ device: "cpu" }) });`,
    },
    ERR_PRECISION_TPU_DOUBLE: {
      means: "TPUs do not compute in float64.",
      cause: '`precision: 64` with `accelerator: "tpu"` or "xla".',
      fix: 'Use 32 or "bf16", or `accelerator: "cpu"`.',
    },
    ERR_PRECISION_TPU_FLOAT16: {
      means: "This precision has float16 parts that TPUs do not have.",
      cause: "APEX, or a plugin of one's own, on a TPU.",
      fix: 'Use "bf16".',
    },
    ERR_PRECISION_TWICE: {
      means: "The Trainer was given two precisions.",
      cause: "`precision` beside a precision plugin.",
      fix: "Remove one of them.",
      example: `import { Trainer, MixedPrecision } from "@nbit/lightning";
new Trainer({ precision: 16, plugins: [new MixedPrecision({ precision: "bf16-mixed" })] });`,
    },
    ERR_PRECISION_UNAVAILABLE: {
      means: "The precision exists, but the package that brings it is not loaded.",
      cause: '"apex" levels without `import "@nbit/apex"`.',
      fix: "Import the package that the message names.",
    },
    ERR_PRECISION_UNKNOWN: {
      means: "`precision` is no precision that there is.",
      cause: 'A misspelling, such as "fp16".',
      fix: "The message lists all, and the nearest; see [precision-guide.md](../precision-guide.md).",
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ precision: "bf61-mixed" });`,
    },
    ERR_VALIDATION_PRECISION: {
      means: "`validationPrecision` does not go with this training precision.",
      cause: "It needs a precision that holds all weights in one dtype.",
      fix: "Leave it out: validation runs as training does.",
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ validationPrecision: "float8" });`,
    },
    FLOAT8_DOUBLE_BACKWARD: {
      means: "Float8Linear has no second derivative.",
      cause: "`createGraph: true` through float8 layers.",
      fix: "Use nn.Linear where you need a second one.",
      by: "NbitError",
      in: ["lowbit"],
    },
    LINT_EPS: {
      means: "PrecisionLint: an epsilon is too small for the dtype it is added to.",
      cause: "`1e-8` beside float16 numbers is 0.",
      fix: "Use one that the dtype holds, or compute that part in float32.",
      by: "PrecisionLint",
    },
    LINT_LEARNING_RATE: {
      means: "PrecisionLint: the learning rate is so small that updates of 16-bit weights are rounded away.",
      cause: '"bf16-true" with a rate of 1e-5.',
      fix: 'Use mixed precision, or an optimizer with `rounding: "kahan"`.',
      by: "PrecisionLint",
    },
    LINT_LOSS: {
      means: "PrecisionLint: the loss is computed in a 16-bit dtype.",
      cause: "A loss of one's own, from results that autocast left in float16.",
      fix: "Compute it from `x.float()`.",
      by: "PrecisionLint",
    },
    LINT_MANUAL_CAST: {
      means: "PrecisionLint: a cast by hand inside the forward.",
      cause: "`.half()` in a model that autocast drives.",
      fix: "Remove it: autocast casts where needed.",
      by: "PrecisionLint",
    },
    LINT_NESTED_AUTOCAST: {
      means: "PrecisionLint: the model opens an autocast region of its own.",
      cause: "Code that was written without the Trainer.",
      fix: "Remove the region: the Trainer opens one.",
      by: "PrecisionLint",
    },
    LINT_SCATTER: {
      means: "PrecisionLint: many numbers are summed in a 16-bit dtype by a scatter.",
      cause: "`scatterAdd` or `indexAdd` of float16.",
      fix: "Sum in float32.",
      by: "PrecisionLint",
    },
    LORA_MERGED: {
      means: "An adapter is merged into its base already.",
      cause: "`merge()` twice; loading adapters into merged layers.",
      fix: "Call `unmerge()` first.",
      by: "NbitError",
      in: ["lowbit"],
    },
    LORA_NOT_MERGED: {
      means: "`unmerge` of an adapter that is beside its base.",
      cause: "`unmerge()` without `merge()`.",
      fix: "Call `merge()` first.",
      by: "NbitError",
      in: ["lowbit"],
    },
    LOSS_SCALE_FLOOR: {
      means: "Gradients are not finite even at the smallest loss scale.",
      cause: "The loss or a layer makes NaN or infinity, at any scale.",
      fix: 'Look at the parameters that the message names; `detectNonFinite: "step"` finds the operator.',
      by: "LossScaleError",
      in: ["torch", "lightning"],
    },
    POLICY_DISPOSED: {
      means: "An autocast policy, or a set of weight casts, was used after it was disposed of.",
      cause: "A `using` block that has ended.",
      fix: "Make a new one, or dispose of it later.",
      by: "NbitError",
      in: ["torch"],
    },
    SCALER_BF16_GRADIENTS: {
      means: "GradScaler met bfloat16 gradients on CUDA.",
      cause: 'A scaler for a model in "bf16-true".',
      fix: "Train bfloat16 without a scaler: it has float32's range.",
      by: "NbitError",
      in: ["torch"],
    },
    SCALER_CLOSURE: {
      means: "`scaler.step` cannot be given a closure.",
      cause: "LBFGS under loss scaling.",
      fix: "Use bfloat16, or another optimizer.",
      by: "NbitError",
      in: ["torch"],
      example: `import { amp, nn, ones, optim } from "@nbit/torch";
const layer = new nn.Linear(1, 1);
const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
const scaler = new amp.GradScaler({ device: "cpu" });
scaler.scale(layer.forward(ones([1, 1])).sum()).backward();
scaler.step(optimizer, () => ones([1]));`,
    },
    SCALER_DEVICE: {
      means: "Gradients are on another device than the scaler.",
      cause: "`new GradScaler()` for CUDA, and a model on the CPU.",
      fix: "Make it with `new GradScaler({ device })`.",
      by: "NbitError",
      in: ["torch"],
    },
    SCALER_FP16_GRADIENTS: {
      means: "GradScaler met float16 gradients: parameters are in float16.",
      cause: "`model.half()` beside a scaler.",
      fix: 'Keep parameters in float32 and let autocast cast them, or use "16-true" without a scaler.',
      by: "NbitError",
      in: ["torch"],
      example: `import { amp, nn, ones, optim } from "@nbit/torch";
const layer = new nn.Linear(1, 1).half();
const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
const scaler = new amp.GradScaler({ device: "cpu" });
scaler.scale(layer.forward(ones([1, 1], { dtype: "float16" })).sum()).backward();
scaler.step(optimizer);`,
    },
    SCALER_NOT_SCALED: {
      means: "The scaler was asked for a step before any loss was scaled.",
      cause: "`loss.backward()` instead of `scaler.scale(loss).backward()`.",
      fix: "Scale the loss first.",
      by: "NbitError",
      in: ["torch"],
      example: `import { amp, nn, optim } from "@nbit/torch";
const scaler = new amp.GradScaler({ device: "cpu" });
scaler.step(new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 0.1 }));`,
    },
    SCALER_NO_GRADIENTS: {
      means: "None of the optimizer's parameters has a gradient.",
      cause: "backward was not called, or went to other parameters.",
      fix: "Call `scaler.scale(loss).backward()` before.",
      by: "NbitError",
      in: ["torch"],
      example: `import { amp, nn, ones, optim } from "@nbit/torch";
const layer = new nn.Linear(1, 1);
const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
const scaler = new amp.GradScaler({ device: "cpu" });
scaler.scale(layer.forward(ones([1, 1])).sum());
scaler.step(optimizer);`,
    },
    SCALER_NO_STEP: {
      means: "`scaler.update` was called although no optimizer has stepped since the last one.",
      cause: "Two calls of `update` per iteration.",
      fix: "Call it once, after `step`.",
      by: "NbitError",
      in: ["torch"],
      example: `import { amp, nn, ones, optim } from "@nbit/torch";
const layer = new nn.Linear(1, 1);
const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
const scaler = new amp.GradScaler({ device: "cpu" });
scaler.scale(layer.forward(ones([1, 1])).sum()).backward();
scaler.update();`,
    },
    SCALER_STEPPED_TWICE: {
      means: "An optimizer was stepped twice by a scaler without `update` between.",
      cause: "A missing `scaler.update()`.",
      fix: "Call it once per iteration.",
      by: "NbitError",
      in: ["torch"],
      example: `import { amp, nn, ones, optim } from "@nbit/torch";
const layer = new nn.Linear(1, 1);
const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
const scaler = new amp.GradScaler({ device: "cpu" });
scaler.scale(layer.forward(ones([1, 1])).sum()).backward();
scaler.step(optimizer);
scaler.step(optimizer);`,
    },
    SCALER_UNSCALED_TWICE: {
      means: "Gradients would be divided by the loss scale twice.",
      cause: "`unscale_` twice, or once per micro-batch.",
      fix: "Call it once, before clipping.",
      by: "NbitError",
      in: ["torch"],
      example: `import { amp, nn, ones, optim } from "@nbit/torch";
const layer = new nn.Linear(1, 1);
const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
const scaler = new amp.GradScaler({ device: "cpu" });
scaler.scale(layer.forward(ones([1, 1])).sum()).backward();
scaler.unscale_(optimizer);
scaler.unscale_(optimizer);`,
    },
    SCALER_UNSCALE_AFTER_STEP: {
      means: "`unscale_` came after `step`.",
      cause: "Clipping after the step.",
      fix: "Swap them.",
      by: "NbitError",
      in: ["torch"],
      example: `import { amp, nn, ones, optim } from "@nbit/torch";
const layer = new nn.Linear(1, 1);
const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
const scaler = new amp.GradScaler({ device: "cpu" });
scaler.scale(layer.forward(ones([1, 1])).sum()).backward();
scaler.step(optimizer);
scaler.unscale_(optimizer);`,
    },
  },
);
