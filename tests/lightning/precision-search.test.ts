import assert from "node:assert/strict";
import { test } from "node:test";
import { LightningModule, PrecisionSearch, recommend, SearchResult } from "@nbit/lightning";
import type { SearchRow } from "@nbit/lightning";
import {
  crossEntropyLoss,
  getRngState,
  memory,
  nn,
  optim,
  randint,
  randn,
  seedEverything,
  setNumThreads,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";

setNumThreads(1);

class Net extends LightningModule {
  readonly layers = new nn.Sequential(
    new nn.Linear(8, 32),
    new nn.BatchNorm1d(32),
    new nn.ReLU(),
    new nn.Dropout(0.1),
    new nn.Linear(32, 4),
  );
  readonly factor: number;
  constructor(factor = 1) {
    super();
    this.factor = factor;
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    // In float16 a large factor overflows.
    const logits = this.layers.forward(x);
    return crossEntropyLoss(logits.mul(this.factor).div(this.factor).float(), y);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.05 });
  }
}
const data = (n = 6): [Tensor, Tensor][] => Array.from({ length: n }, () => [randn([16, 8]), randint(4, [16])]);

test("precisions are compared on the same weights, batches and draws, and the model is left as it was", async () => {
  seedEverything(1);
  const net = new Net().eval();
  const batches = data();
  const weights = (): unknown => [...net.stateDict()].map(([name, t]) => [name, t.dtype, t.tolist()]);
  const before = [weights(), getRngState().tolist(), net.training, net.isAttached];
  const result = await new PrecisionSearch({
    precisions: [32, "bf16", 16, "bf16-true", 32],
    steps: 6,
    accelerator: "cpu",
  }).run(net, { trainDataloaders: batches });
  assert.deepEqual([weights(), getRngState().tolist(), net.training, net.isAttached], before);
  assert.ok([...net.parameters()].every((p) => p.grad === null));
  assert.deepEqual(
    result.rows.map((r) => r.name),
    ["32-true", "bf16-mixed", "16-mixed", "bf16-true", "32-true"],
  );
  const [base, bf16, fp16, half, again] = result.rows;
  assert.ok(
    base !== undefined && bf16 !== undefined && fp16 !== undefined && half !== undefined && again !== undefined,
  );
  assert.deepEqual(again.losses, base.losses, "the same precision twice gives the same losses to the last bit");
  assert.equal(again.lossDistance, 0);
  assert.ok(Math.abs(again.gradientCosine - 1) < 1e-12);
  for (const row of [bf16, fp16, half]) {
    assert.equal(row.error, null);
    assert.equal(row.losses.length, 6);
    assert.ok(row.lossDistance > 0 && row.lossDistance < 0.05, `${row.name}: ${row.lossDistance}`);
    assert.ok(row.gradientCosine > 0.98 && row.gradientCosine < 1, `${row.name}: ${row.gradientCosine}`);
    assert.ok(row.secondsPerStep > 0 && (row.peakBytes ?? 0) > 0);
  }
  assert.ok(fp16.lossDistance < bf16.lossDistance, "float16 has three more bits");
  assert.match(
    String(result),
    /^ {3}precision +last loss +from first +gradient cosine +ms per step +speed +peak memory +skipped\n─+\n[^]*\n Recommended: .*\(6 steps on cpu\)\.$/,
  );
});

test("a precision that fails, skips steps or diverges is reported, and not recommended", async () => {
  seedEverything(1);
  const result = await new PrecisionSearch({ precisions: [32, 16, "16-true"], steps: 5, accelerator: "cpu" }).run(
    new Net(1e6),
    { trainDataloaders: data(5) },
  );
  const [base, fp16, half] = result.rows;
  assert.equal(base?.error, null);
  assert.ok((fp16?.skippedSteps ?? 0) >= 4, "the factor overflows float16, so that steps are skipped");
  assert.match(half?.error ?? "", /^fit: expected a finite loss\. Received: NaN, at step 0/);
  assert.equal(result.recommended, 32);
});

test("two searches end with as many tensors as one", async () => {
  const net = new Net();
  const batches = data(4);
  const search = new PrecisionSearch({ precisions: [32, "bf16"], steps: 4, accelerator: "cpu" });
  const counts: number[] = [];
  for (let i = 0; i < 3; i++) {
    await search.run(net, { trainDataloaders: batches });
    await collectGarbage();
    counts.push(memory().tensors);
  }
  assert.equal(counts[2], counts[1], String(counts));
});

const row = (precision: SearchRow["precision"], more: Partial<SearchRow> = {}): SearchRow => ({
  precision,
  name: String(precision),
  losses: [1],
  lossDistance: 0.001,
  gradientCosine: 0.999,
  secondsPerStep: 1,
  peakBytes: 100,
  skippedSteps: 0,
  error: null,
  ...more,
});

test("the recommendation is the fastest precision that follows the reference, then the smallest, then the first", () => {
  const choose = (...rows: SearchRow[]): [unknown, string] => {
    const { row: r, reason } = recommend(rows, 0.05);
    return [r.precision, reason];
  };
  assert.deepEqual(choose(row(32), row("bf16", { secondsPerStep: 0.5 }), row(16, { secondsPerStep: 0.4 })), [
    16,
    "2.5 × as fast as 32, and its losses stay within 0.1 %",
  ]);
  assert.deepEqual(
    choose(row(32), row(16, { secondsPerStep: 0.4, lossDistance: 0.2 }), row("bf16", { secondsPerStep: 0.5 })),
    ["bf16", "2.0 × as fast as 32, and its losses stay within 0.1 %"],
  );
  assert.deepEqual(choose(row(32), row(16, { secondsPerStep: 0.4, gradientCosine: 0.9 })), [
    32,
    "no other precision follows its losses and gradients",
  ]);
  assert.deepEqual(choose(row(32), row("bf16-true", { peakBytes: 50 })), [
    "bf16-true",
    "as fast as 32 in 50 % of its memory, and its losses stay within 0.1 %",
  ]);
  assert.deepEqual(choose(row(32), row("bf16", { secondsPerStep: 0.99 })), [
    32,
    "no other precision that follows its losses is faster or smaller here",
  ]);
  assert.deepEqual(choose(row(32), row("bf16", { secondsPerStep: 0.5, error: "boom" })), [
    32,
    "no other precision follows its losses and gradients",
  ]);
  assert.deepEqual(choose(row(32, { error: "boom" }), row("bf16")), ["bf16", "32 failed: boom"]);
  assert.match(
    String(new SearchResult([row(32), row("bf16", { lossDistance: 0.5 })], 0.05, "cpu", 9)),
    / ▸ 32 .*\n {3}bf16 .* losses 50\.0 % away\n Recommended: 32, no other/,
  );
});

test("wrong options are errors before anything runs", async () => {
  assert.throws(() => new PrecisionSearch({ steps: 2 }), {
    message: "PrecisionSearch: expected steps to be a whole number ≥ 4. Received: 2.",
  });
  assert.throws(() => new PrecisionSearch({ precisions: [32] }), { code: "ERR_ARGUMENT" });
  await assert.rejects(
    new PrecisionSearch({ precisions: [32, "17" as never], accelerator: "cpu" }).run(new Net(), {
      trainDataloaders: data(1),
    }),
    /expected precision to be one of/,
  );
  await assert.rejects(
    new PrecisionSearch({ accelerator: "cpu" }).run(new Net(), { trainDataloaders: [] }),
    /batches|loader/,
  );
});
