/** Reports, lints and warnings of several ranks: numbers of all, once, and with the rank of what is not everywhere. */
import assert from "node:assert/strict";
import {
  DDPStrategy,
  FSDPStrategy,
  LightningModule,
  measureRange,
  mergeRanges,
  PrecisionLint,
  PrecisionLintError,
  PrecisionReport,
  Trainer,
  type StepPrecision,
  type TrainerOptions,
} from "@nbit/lightning";
import { device, manualSeed, nn, optim, randn, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT, warningsOf } from "../helpers/training.js";

class Net extends LightningModule {
  readonly first = new nn.Linear(4, 16);
  readonly last = new nn.Linear(16, 1);
  constructor(
    readonly factor = 1,
    readonly eps = 1e-4,
  ) {
    super();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.01, eps: this.eps });
  }
  override trainingStep(batch: Tensor): Tensor {
    const h = this.first.forward(batch.mul(this.factor));
    return this.last.forward(h).float().square().mean().div(this.factor);
  }
}
type Kind = "ddp" | 1 | 2 | 3;
const batchOf = (rank: number): Tensor => {
  manualSeed(20 + rank);
  return randn([3, 4]);
};
async function train(kind: Kind, net: LightningModule, options: TrainerOptions): Promise<Trainer> {
  const cpu = device("cpu");
  manualSeed(4);
  for (const p of net.parameters()) p.detach().copy_(randn([...p.shape]).mul(0.1));
  const trainer = new Trainer({
    accelerator: "cpu",
    strategy: kind === "ddp" ? new DDPStrategy(cpu) : new FSDPStrategy(cpu, { stage: kind }),
    maxEpochs: 1,
    useDistributedSampler: false,
    ...SILENT,
    ...options,
  });
  await trainer.fit(net, { trainDataloaders: [batchOf(dist.getRank()), batchOf(dist.getRank())] });
  return trainer;
}
function common<T>(mine: T): T {
  const [first] = dist.allGatherObject(mine);
  assert.deepEqual(mine, first);
  return mine;
}
const weightsOf = (net: Net): unknown => net.parameters().map((p) => p.tolist());
/** What has numbers of values, without the times of this machine. */
const numbersOf = (report: StepPrecision | null): unknown =>
  report?.modules.map(({ name, activations, activationGradients, parameterGradients, overflowRanks }) => ({
    name,
    activations,
    activationGradients,
    parameterGradients,
    overflowRanks,
  }));

const cases: Record<string, RankCase> = {};
for (const kind of ["ddp", 1, 2, 3] as const) {
  const name = kind === "ddp" ? "ddp" : `fsdp, stage ${kind}`;
  cases[`${name}: a report counts the numbers of all ranks, and changes no step`] = async (_, worldSize) => {
    const report = new PrecisionReport({ print: false, step: [0, 1] });
    const net = new Net();
    await train(kind, net, { callbacks: [report], accumulateGradBatches: 2 });
    const plain = new Net();
    await train(kind, plain, { accumulateGradBatches: 2 });
    assert.deepEqual(weightsOf(net), weightsOf(plain));
    common(numbersOf(report.reports[0] ?? null));
    const [first] = report.reports;
    assert.equal(first?.worldSize, worldSize);
    assert.match(String(first), /numbers of \d processes, times of process 0/);
    // As they are of each rank by itself.
    const alone = new Net();
    manualSeed(4);
    for (const p of alone.parameters()) p.detach().copy_(randn([...p.shape]).mul(0.1));
    const outputs = [...Array(worldSize).keys()].map((r) => measureRange(alone.first.forward(batchOf(r)).detach()));
    const expected = outputs.reduce((a, b) => mergeRanges(a, b));
    const found = first?.module("first")?.activations;
    assert.equal(found?.count, worldSize * 48);
    assert.equal(found?.largest, expected.largest);
    assert.equal(found?.smallest, expected.smallest);
    assert.deepEqual(found?.counts, expected.counts);
    assert.equal(first?.module("last")?.parameterGradients?.count, worldSize * 17);
  };
}
Object.assign(cases, {
  "a rank that alone overflows is named": async (rank) => {
    const report = new PrecisionReport({ print: false });
    const net = new Net(rank === 1 ? 1e6 : 1);
    const trainer = await train("ddp", net, { precision: "16-true", callbacks: [report], detectNonFinite: false });
    const first = report.latest?.module("first");
    assert.deepEqual(common(first?.overflowRanks), [1]);
    assert.match(String(report.latest), /first overflows on rank 1 alone/);
    // And by hand, by all.
    const again = trainer.precision.report({ batch: batchOf(rank).half(), print: false });
    assert.equal(common(again.worldSize), 2);
  },
  "warnings: what all would say comes once from rank 0, what one says with its rank": async (rank) => {
    class Hidden extends Net {
      readonly layers = rank === 1 ? [new nn.Linear(2, 2)] : [];
    }
    const given = await warningsOf(() =>
      train("ddp", new Hidden(1, 1e-12), { precision: "16-true", detectNonFinite: false }),
    );
    const texts = given.filter(({ code }) => /HIDDEN|EPS/.test(code)).map(({ message }) => message.slice(0, 44));
    assert.deepEqual(
      texts,
      rank === 0
        ? ["[rank 1] fit: Hidden.layers is an array with", "AdamW: its eps of 1e-12 is 0 in float16, so "]
        : [],
    );
  },
  "lints: what one rank finds names it, what all find is said once; a strict one ends all": async (rank) => {
    class Casts extends Net {
      override trainingStep(batch: Tensor): Tensor {
        return super.trainingStep(rank === 1 ? batch.double().to(batch.dtype) : batch);
      }
    }
    const written: string[] = [];
    const stream = { write: (text: string) => written.push(text) > 0 };
    const lint = new PrecisionLint({ stream: stream as never });
    await train("ddp", new Casts(1, 1e-12), { precision: "16-true", callbacks: [lint], detectNonFinite: false });
    const codes = common(lint.findings.map(({ code, ranks }) => [code, ranks]));
    assert.deepEqual(
      codes.find(([code]) => code === "LINT_EPS"),
      ["LINT_EPS", undefined],
    );
    assert.deepEqual(
      codes.find(([code]) => code === "LINT_MANUAL_CAST"),
      ["LINT_MANUAL_CAST", [1]],
    );
    assert.equal(written.join("").includes("LINT_MANUAL_CAST  [rank 1] "), rank === 0);
    const strict = new PrecisionLint({ strict: true, ignore: ["LINT_EPS", "LINT_LOSS", "LINT_LEARNING_RATE"] });
    const ended = train("ddp", new Casts(), { precision: 16, callbacks: [strict] });
    await assert.rejects(ended, PrecisionLintError);
  },
} satisfies Record<string, RankCase>);

testRanks(import.meta.url, 2, cases);
