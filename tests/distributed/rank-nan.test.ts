/** NaN on one rank: every rank ends at the same place with the same error, which names that rank and where it began. */
import assert from "node:assert/strict";
import {
  Callback,
  DDPStrategy,
  type DDPOptions,
  EarlyStopping,
  FSDPStrategy,
  LightningModule,
  MixedPrecision,
  NonFiniteError,
  Trainer,
  type DetectNonFinite,
  type TrainerOptions,
} from "@nbit/lightning";
import { device, manualSeed, nn, NbitError, optim, randn, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

/** `loss`: NaN in the forward; `detached`: a loss that is NaN with gradients that are not; `gradient`: the other way. */
type Fault = "none" | "loss" | "detached" | "gradient" | "overflow";
class Net extends LightningModule {
  readonly first = new nn.Linear(4, 16);
  readonly last = new nn.Linear(16, 1);
  constructor(readonly faultOf: (batchIdx: number) => Fault) {
    super();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.01 });
  }
  override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
    const h = this.last.forward(this.first.forward(batch)).float();
    const loss = h.square().mean();
    switch (this.faultOf(batchIdx)) {
      case "loss":
        return h.abs().neg().sub(1).log().mean();
      case "detached":
        return loss.add(h.detach().abs().neg().sub(1).log().mean());
      case "gradient":
        return loss.add(h.mul(0).abs().sqrt().mean()); // its derivative at 0 is infinite, times 0
      case "overflow":
        return loss.mul(Infinity);
      default:
        return loss;
    }
  }
}
class Manual extends Net {
  override automaticOptimization = false;
  override trainingStep(batch: Tensor, batchIdx: number): null {
    const loss = super.trainingStep(batch, batchIdx);
    if (loss !== null) this.manualBackward(loss);
    return null;
  }
}

type Kind = "ddp" | 1 | 2 | 3;
async function train(
  kind: Kind,
  net: LightningModule,
  options: TrainerOptions = {},
  ddp: DDPOptions = {},
): Promise<unknown> {
  const cpu = device("cpu");
  manualSeed(10 + dist.getRank());
  const trainDataloaders = Array.from({ length: 4 }, () => randn([3, 4]));
  const trainer = new Trainer({
    accelerator: "cpu",
    strategy: kind === "ddp" ? new DDPStrategy(cpu, ddp) : new FSDPStrategy(cpu, { stage: kind }),
    maxEpochs: 1,
    useDistributedSampler: false,
    ...SILENT,
    ...options,
  });
  try {
    await trainer.fit(net, { trainDataloaders });
    return null;
  } catch (error) {
    return error;
  }
}
/** The same on all ranks, which may go on together. */
function common<T>(mine: T): T {
  const [first] = dist.allGatherObject(mine);
  assert.deepEqual(mine, first);
  return mine;
}
function named(error: unknown, rank: number): string {
  assert.ok(error instanceof NonFiniteError, String(error));
  common({ message: error.message, origin: error.origin });
  assert.equal(error.rank, rank);
  return error.message;
}

const cases: Record<string, RankCase> = {};
for (const kind of ["ddp", 1, 3] as const) {
  const name = kind === "ddp" ? "ddp" : `fsdp, stage ${kind}`;
  for (const detectNonFinite of [true, "step", "gradients"] satisfies DetectNonFinite[])
    cases[`${name}: a loss that is NaN on one rank, detectNonFinite ${detectNonFinite}`] = async (rank, worldSize) => {
      const bad = worldSize - 1;
      const net = new Net((i) => (rank === bad && i === 1 ? "loss" : "none"));
      const message = named(await train(kind, net, { detectNonFinite }), bad);
      assert.match(
        message,
        new RegExp(
          `^fit: expected a finite loss. Received: NaN on rank ${bad}, at step 1 \\(epoch 0, batch 1\\), precision "32-true". It began in trainingStep itself, in the forward of operator log`,
        ),
      );
      // Weights are those before the step, and whole.
      const weights = common(net.parameters().map((p) => p.tolist()));
      assert.ok(weights.flat(3).every((w) => Number.isFinite(w)));
      assert.deepEqual(net.first.weight.shape, [16, 4]);
    };
  cases[`${name}: NaN that backward makes on one rank, detectNonFinite gradients`] = async (rank) => {
    const net = new Net((i) => (rank === 1 && i === 1 ? "gradient" : "none"));
    const message = named(await train(kind, net, { detectNonFinite: "gradients" }), 1);
    assert.match(
      message,
      /expected finite gradients.* of first\.weight.* On rank 1: It began in trainingStep itself, in the backward of operator/,
    );
  };
  cases[`${name}: a window's earlier batch`] = async (rank) => {
    const net = new Net((i) => (rank === 1 && i === 2 ? "loss" : "none"));
    const message = named(await train(kind, net, { accumulateGradBatches: 2 }), 1);
    assert.match(message, /NaN on rank 1, at step 1 \(epoch 0, batch 2\)/);
  };
  cases[`${name}: a scale that moves does not cure a loss that is NaN with finite gradients`] = async (rank) => {
    const options = (): TrainerOptions => ({ plugins: new MixedPrecision({ scaler: { initScale: 256 } }) });
    const net = new Net((i) => (rank === 1 && i === 1 ? "detached" : "none"));
    assert.match(named(await train(kind, net, options()), 1), /NaN on rank 1, .*operator log/);
    // One whose gradients are not finite either is skipped.
    const skipped = new Net((i) => (rank === 1 && i === 1 ? "overflow" : "none"));
    assert.equal(common(await train(kind, skipped, options())), null);
  };
  cases[`${name}: detectNonFinite false goes on everywhere`] = async (rank) => {
    const net = new Net((i) => (rank === 1 && i === 1 ? "loss" : "none"));
    assert.equal(common(await train(kind, net, { detectNonFinite: false })), null);
  };
}
Object.assign(cases, {
  "ddp: however gradients are averaged": async (rank) => {
    for (const ddp of [
      { commHook: "fp16_compress" },
      { reduceDtype: "bfloat16" },
      { commHook: "powerSGD", powerSGDStart: 2 },
      { findUnusedParameters: true },
      { staticGraph: true },
      { gradientAsBucketView: false },
    ] satisfies DDPOptions[]) {
      const net = new Net((i) => (rank === 1 && i === 3 ? "detached" : "none"));
      assert.match(named(await train("ddp", net, {}, ddp), 1), /NaN on rank 1, at step 3 /);
    }
  },
  "a metric that is NaN on one rank alone ends all, and is said to be of that rank": async (rank) => {
    const said: string[] = [];
    const { log } = console;
    console.log = (text: string) => void said.push(text);
    let epochs = 0;
    class Local extends Net {
      override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
        this.log("mine", rank === 1 ? NaN : 1, { onStep: false, onEpoch: true, syncDist: false });
        return super.trainingStep(batch, batchIdx);
      }
    }
    class Count extends Callback {
      override onTrainEpochEnd(): void {
        epochs++;
      }
    }
    try {
      const stop = new EarlyStopping({ monitor: "mine", checkOnTrainEpochEnd: true });
      assert.equal(await train("ddp", new Local(() => "none"), { maxEpochs: 3, callbacks: [new Count(), stop] }), null);
      assert.equal(common(epochs), 1);
      assert.equal(stop.stoppingReason, "non_finite");
    } finally {
      console.log = log;
    }
    assert.deepEqual(
      said,
      rank === 0 ? ["EarlyStopping: training ends, mine is NaN; its best was Infinity (on rank 1)."] : [],
    );
  },
  "loss scales that differ are an error at the next log step, on all": async (rank) => {
    const plugin = new MixedPrecision({ scaler: { initScale: 1024 } });
    class Load extends Callback {
      override onTrainBatchEnd(_: unknown, __: unknown, ___: unknown, ____: unknown, batchIdx: number): void {
        if (rank === 1 && batchIdx === 1) plugin.scaler?.update(256);
      }
    }
    const options = { plugins: plugin, callbacks: [new Load()], logEveryNSteps: 2 };
    const error = await train("ddp", new Net(() => "none"), options);
    assert.ok(error instanceof NbitError, String(error));
    assert.equal(error.code, "ERR_DIST_LOSS_SCALE");
    assert.match(common(error.message), /Received: 1024 on rank 0; 256 on rank 1, at step 2\./);
  },
  // Others cannot hear of it before backward: they are told that this rank has failed, so that this comes last.
  "manual optimization: the rank itself has the error, the others are told": async (rank) => {
    const error = await train("ddp", new Manual((i) => (rank === 1 && i === 1 ? "loss" : "none")));
    assert.match(String(error), /expected a finite loss\. Received: NaN, .*operator log/);
    if (rank === 0) assert.match(String(error), /rank 1 failed/);
  },
} satisfies Record<string, RankCase>);

testRanks(import.meta.url, 2, cases);
const ofFour = (name: string): boolean => /^(ddp|fsdp, stage 3): a loss .* true$/.test(name);
testRanks(import.meta.url, 4, Object.fromEntries(Object.entries(cases).filter(([name]) => ofFour(name))));
