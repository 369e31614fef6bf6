import assert from "node:assert/strict";
import { test } from "node:test";
import { LightningModule, PrecisionLint, PrecisionLintError, Trainer } from "@nbit/lightning";
import type { LintFinding, TrainerOptions } from "@nbit/lightning";
import {
  autocast,
  crossEntropyLoss,
  getRngState,
  mseLoss,
  nn,
  optim,
  randint,
  randn,
  scatterAdd,
  seedEverything,
  setNumThreads,
  zeros,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
let printed = "";
const stream = { write: (text: string) => ((printed += text), true) };
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 1, detectNonFinite: false };

class Net extends LightningModule {
  readonly layers = new nn.Sequential(
    new nn.Linear(4, 8),
    new nn.LayerNorm(8),
    new nn.Dropout(0.1),
    new nn.Linear(8, 3),
  );
  readonly make: (module: Net) => optim.Optimizer;
  constructor(make: (module: Net) => optim.Optimizer = (m) => new optim.SGD(m.parameters(), { lr: 0.1 })) {
    super();
    this.make = make;
  }
  override forward(x: Tensor): Tensor {
    return this.layers.forward(x);
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    return crossEntropyLoss(this.forward(x).float(), y);
  }
  override configureOptimizers(): optim.Optimizer {
    return this.make(this);
  }
}
const data = (): [Tensor, Tensor][] => [
  [randn([6, 4]), randint(3, [6])],
  [randn([6, 4]), randint(3, [6])],
];

async function lint(net: LightningModule, precision: TrainerOptions["precision"]): Promise<readonly LintFinding[]> {
  seedEverything(0);
  printed = "";
  const callback = new PrecisionLint({ stream });
  await new Trainer({ ...OPTIONS, precision: precision ?? 32, callbacks: callback }).fit(net, {
    trainDataloaders: data(),
  });
  return callback.findings;
}

for (const precision of [32, "bf16", 16, 64, "bf16-true"] as const) {
  test(`a clean model has no findings in ${precision}, and the lint does not change training`, async () => {
    const run = async (callbacks: PrecisionLint[]): Promise<unknown[]> => {
      seedEverything(5);
      const net = new Net();
      await new Trainer({ ...OPTIONS, precision, callbacks }).fit(net, { trainDataloaders: data() });
      return [...[...net.stateDict().values()].map((t) => t.float().tolist()), getRngState().tolist()];
    };
    const strict = new PrecisionLint({ strict: true, stream });
    printed = "";
    assert.deepEqual(await run([strict]), await run([]));
    assert.deepEqual([strict.findings, printed], [[], ""]);
  });
}

test("the lint finds manual casts, with their lines", async () => {
  class Casting extends Net {
    override forward(x: Tensor): Tensor {
      const half = super.forward(x).bfloat16(); // by hand
      return half.float().double();
    }
  }
  const findings = await lint(new Casting(), 32);
  assert.deepEqual(
    findings.map((f) => [f.code, f.reason]),
    [
      ["LINT_MANUAL_CAST", "a cast by hand, float32 → bfloat16"],
      ["LINT_MANUAL_CAST", "a cast by hand, float32 → float64"],
    ],
  );
  assert.match(
    findings[0]?.place ?? "",
    /^tests\/lightning\/precision-lint\.test\.ts:\d+:\d+: const half = super\.forward\(x\)\.bfloat16\(\); \/\/ by hand$/,
  );
  assert.match(
    printed,
    /^precision lint, 2 findings:\n {2}LINT_MANUAL_CAST {2}tests.*\n {4}a cast by hand, float32 → bfloat16\.\n {4}Remove it: /,
  );
});

test("the lint finds autocast regions inside a step, and accepts those that disable autocast", async () => {
  class Nested extends Net {
    override forward(x: Tensor): Tensor {
      const y = autocast({ dtype: "bfloat16" }, () => super.forward(x));
      return autocast({ enabled: false }, () => y.float());
    }
  }
  const findings = await lint(new Nested(), 16);
  assert.deepEqual(
    findings.map((f) => f.code),
    ["LINT_NESTED_AUTOCAST"],
  );
  assert.match(findings[0]?.place ?? "", /precision-lint\.test\.ts:\d+:\d+: const y = autocast/);
});

test("the lint finds scatter operators and cumulative sums in 16 bits, with their modules", async () => {
  class Pool extends nn.Module {
    forward(x: Tensor): Tensor {
      return scatterAdd(zeros([6, 3], { dtype: x.dtype }), 0, zeros([6, 3], { dtype: "int64" }), x).add(x.cumsum(0));
    }
  }
  class Graph extends Net {
    readonly pool = new Pool();
    override forward(x: Tensor): Tensor {
      return this.pool.forward(super.forward(x));
    }
  }
  // On CPU libtorch itself computes running sums in float32.
  assert.deepEqual(
    (await lint(new Graph(), "bf16")).map((f) => [f.code, f.place]).filter(([, place]) => !place?.startsWith("cumsum")),
    [["LINT_SCATTER", "scatter_add in module pool"]],
  );
  assert.deepEqual(
    (await lint(new Graph(), "bf16-true")).map((f) => f.place),
    ["scatter_add in module pool", "cumsum in module pool"],
  );
  assert.deepEqual(await lint(new Graph(), 32), []);
});

test("the lint finds losses in 16 bits", async () => {
  class Plain extends Net {
    override trainingStep([x]: [Tensor, Tensor]): Tensor {
      return this.forward(x).square().mean();
    }
  }
  class Regression extends Net {
    override trainingStep([x]: [Tensor, Tensor]): Tensor {
      const y = this.forward(x);
      return mseLoss(y, y.detach().mul(2));
    }
  }
  assert.deepEqual(
    (await lint(new Plain(), "bf16")).map((f) => [f.code, f.place]),
    [["LINT_LOSS", "the loss that trainingStep returns"]],
  );
  assert.deepEqual(await lint(new Regression(), "bf16"), [], "autocast computes this loss in float32");
  assert.deepEqual(
    (await lint(new Regression(), "bf16-true")).map((f) => [f.code, f.place]),
    [["LINT_LOSS", "mse_loss in trainingStep"]],
  );
});

test("the lint finds an eps that is zero in float16", async () => {
  const adam = (eps: number) => (m: Net) => new optim.AdamW(m.parameters(), { lr: 0.01, eps });
  const codes = async (eps: number, precision: "16-true" | 16 | "bf16-true"): Promise<string[]> =>
    (await lint(new Net(adam(eps)), precision)).filter((f) => f.code === "LINT_EPS").map((f) => f.place);
  assert.deepEqual(await codes(1e-8, "16-true"), ["optimizer 0 (AdamW)"]);
  assert.deepEqual(await codes(1e-4, "16-true"), []);
  assert.deepEqual(await codes(1e-8, 16), [], "masters are float32");
  assert.deepEqual(await codes(1e-8, "bf16-true"), [], "bfloat16 holds it");
  const net = new Net();
  Object.assign(net.layers[1] ?? {}, { eps: 1e-9 });
  assert.deepEqual(
    (await lint(net, "16-true")).map((f) => [f.code, f.place]),
    [["LINT_EPS", "module layers.1 (LayerNorm)"]],
  );
});

test("the lint finds a learning rate whose updates vanish in 16-bit weights", async () => {
  const found = async (lr: number, precision: "bf16-true" | "bf16"): Promise<string[]> =>
    (await lint(new Net((m) => new optim.AdamW(m.parameters(), { lr })), precision)).map(
      (f) => `${f.code} ${f.reason}`,
    );
  const [finding, ...others] = await found(1e-5, "bf16-true");
  assert.match(
    finding ?? "",
    /^LINT_LEARNING_RATE lr 0\.00001 is less than half the gap between neighbouring bfloat16 numbers at \d\d % of the weights \(most in layers\.\d\.weight\)/,
  );
  assert.deepEqual(others, []);
  assert.deepEqual(await found(0.05, "bf16-true"), []);
  assert.deepEqual(await found(1e-5, "bf16"), []);
});

test("strict findings end the run; some may be ignored", async () => {
  const make = (m: Net): optim.Optimizer => new optim.AdamW(m.parameters(), { lr: 1e-5 });
  const run = (lintCallback: PrecisionLint): Promise<void> =>
    new Trainer({ ...OPTIONS, precision: "bf16-true", callbacks: lintCallback }).fit(new Net(make), {
      trainDataloaders: data(),
    });
  await assert.rejects(
    run(new PrecisionLint({ strict: true })),
    (error) =>
      error instanceof PrecisionLintError &&
      error.code === "ERR_PRECISION_LINT" &&
      error.findings.length === 1 &&
      /^PrecisionLint: expected no findings\. Received: 1\.\n {2}LINT_LEARNING_RATE {2}optimizer 0/.test(error.message),
  );
  await run(new PrecisionLint({ strict: true, ignore: ["LINT_LEARNING_RATE"] }));
});
