import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { LightningModule, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import {
  autocast,
  binaryCrossEntropy,
  conv2d,
  DTypeMismatchError,
  nn,
  ones,
  optim,
  rand,
  randn,
  scatterAdd,
  setNumThreads,
  TorchError,
  zeros,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 1 };
const source = fileURLToPath(new URL("../../lightning/manual-casts.test.ts", import.meta.url));
const lineOf = (text: string): number =>
  readFileSync(source, "utf8")
    .split("\n")
    .findIndex((line) => line.includes(text)) + 1;

function mismatch(fn: () => unknown): DTypeMismatchError {
  let caught: unknown;
  try {
    fn();
  } catch (error) {
    caught = error;
  }
  assert.ok(caught instanceof DTypeMismatchError, `expected a DTypeMismatchError. Received: ${String(caught)}`);
  return caught;
}

/** The example that Lightning's page on precision warns of. */
class LitModel extends LightningModule {
  readonly encoder = new nn.Linear(8, 1);
  readonly layer = new nn.Linear(32, 8);
  override forward(batch: Tensor): Tensor {
    return this.encoder.forward(batch);
  }
  override trainingStep(batch: Tensor): Tensor {
    const outs = this.forward(batch);

    const aFloat32 = rand([8, 8], { device: this.device, dtype: this.dtype });
    const bFloat32 = rand([8, 4], { device: this.device, dtype: this.dtype });

    // casting to 16 bits manually
    const target = autocast({ deviceType: this.device.type }, () => {
      const c16 = aFloat32.mm(bFloat32);
      return this.layer.forward(c16.flatten().unsqueeze(0));
    });

    // here outs is float32 and target is 16-bit
    const loss = target.matmul(outs).float(); // the line
    return loss.sum();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}

test("a dtype mismatch after a manual cast is an error that names operator, dtypes, line and fix", async () => {
  let caught: unknown = null;
  await new Trainer({ ...OPTIONS, precision: 32 })
    .fit(new LitModel(), { trainDataloaders: [randn([8, 8])] })
    .catch((error: unknown) => (caught = error));
  assert.ok(caught instanceof DTypeMismatchError && caught instanceof TorchError);
  assert.equal(caught.code, "TORCH_DTYPE_MISMATCH");
  assert.equal(caught.op, "aten::matmul");
  assert.deepEqual([...caught.dtypes].sort(), ["bfloat16", "float32"]);
  assert.equal(caught.at?.file, source);
  assert.equal(caught.at?.line, lineOf("// the line"));
  assert.match(
    caught.message,
    /^matmul: expected operands of one dtype\. Received: bfloat16 and float32\. At tests\/lightning\/manual-casts\.test\.ts:\d+:\d+: const loss = target\.matmul\(outs\)\.float\(\); \/\/ the line\nOne of them was cast by hand \(\.half\(\), \.bfloat16\(\), \.to\(dtype\)\) or made under an autocast of its own: remove that cast and let the Trainer's precision do it, or cast back before this operator \(x\.to\("float32"\)\)\. \(libtorch: /,
  );
  assert.match(caught.stack ?? "", /\n {4}at .*trainingStep/);
});

test("the line named is the user's, however deep the layers are", () => {
  const net = new nn.Sequential(new nn.Sequential(new nn.Sequential(new nn.Sequential(new nn.Linear(2, 2)))));
  const error = mismatch(() => net.forward(ones([1, 2]).half())); // deep
  assert.deepEqual(
    [error.op, error.at?.line, [...error.dtypes].sort()],
    ["aten::linear", lineOf("// deep"), ["float16", "float32"]],
  );
});

test("every dtype message of libtorch is recognized", () => {
  const index = zeros([2, 2], { dtype: "int64" });
  const line = zeros([1], { dtype: "int64" });
  const cases: readonly (readonly [string, () => unknown])[] = [
    ["mm", () => ones([2, 2]).mm(ones([2, 2]).half())],
    ["bmm", () => ones([1, 2, 2]).bmm(ones([1, 2, 2]).half())],
    ["conv2d", () => conv2d(ones([1, 1, 2, 2]).half(), ones([1, 1, 1, 1]))],
    ["scatter_add", () => scatterAdd(zeros([2, 2]), 0, index, ones([2, 2]).half())],
    ["index_add", () => zeros([2]).indexAdd(0, line, ones([1]).half())],
    ["layer_norm", () => new nn.LayerNorm(2).half().forward(ones([2, 2]))],
    ["batch_norm", () => new nn.BatchNorm1d(2).half().forward(ones([2, 2]))],
    ["dot", () => ones([2]).dot(ones([2]).half())],
    ["binary_cross_entropy", () => binaryCrossEntropy(ones([2]), ones([2]).half())],
  ];
  for (const [name, fn] of cases) {
    const error = mismatch(fn);
    assert.equal(error.op?.replace("aten::", ""), name);
    assert.deepEqual([...error.dtypes].sort(), ["float16", "float32"], error.message);
    assert.match(
      error.message,
      new RegExp(
        `^${name}: expected operands of one dtype\\. Received: float(16|32) and float(16|32)\\. At tests/lightning/manual-casts\\.test\\.ts:`,
      ),
    );
  }
});

test("under autocast the fix is an autocast rule for the operator", () => {
  const error = mismatch(() =>
    autocast({ dtype: "bfloat16" }, () =>
      scatterAdd(zeros([2, 2]), 0, zeros([2, 2], { dtype: "int64" }), ones([2, 2]).mm(ones([2, 2]))),
    ),
  );
  assert.match(
    error.message,
    /Autocast has no rule for scatter_add, .* amp\.policy\(\{ "scatter_add": "float32" \}, \(\) => …\), or leave autocast: autocast\(\{ enabled: false \}/,
  );
});

test("other errors stay as they were", () => {
  assert.throws(
    () => ones([2, 3]).mm(ones([2, 3])),
    (error) =>
      error instanceof TorchError &&
      !(error instanceof DTypeMismatchError) &&
      error.code === "TORCH" &&
      /^mm: mat1 and mat2 shapes cannot be multiplied/.test(error.message),
  );
  assert.throws(() => ones([2]).add("x" as never), { code: "ERR_ARGUMENT" });
});
