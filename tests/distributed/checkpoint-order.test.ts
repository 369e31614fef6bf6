/**
 * Sums over more than two ranks are rounded by where gradients are in their messages: a run that goes on has them
 * where they were.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  DDPStrategy,
  FSDPStrategy,
  readCheckpoint,
  type FitOptions,
  type ParallelStrategy,
  type TrainerOptions,
} from "@nbit/lightning";
import {
  DataLoader,
  device,
  manualSeed,
  mseLoss,
  nn,
  ones,
  randn,
  tanh,
  type Tensor,
  TensorDataset,
} from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { fingerprint, folderOfAll, Net, run, SaveAfter } from "./checkpoint-run.js";

const WORLD = 3;
const folder = folderOfAll("ranks-order");

/** Gradients do not arrive in the order of registration, in which they lie until one is known. */
class Crossed extends nn.Sequential {
  readonly #first = new nn.Linear(12, 72);
  readonly #last = new nn.Linear(72, 5);
  readonly #middle = new nn.Linear(72, 72);
  constructor() {
    super();
    this.append(this.#middle).append(this.#last).append(this.#first);
  }
  override forward(x: Tensor): Tensor {
    return this.#last.forward(this.#middle.forward(tanh(this.#first.forward(x))));
  }
}
class CrossedNet extends Net {
  override readonly net = new Crossed();
  override validationStep(batch: unknown): void {
    this.net.forward((batch as [Tensor])[0]);
  }
}

/** Saves after every batch of an epoch, and goes on from each of these checkpoints. */
async function resumesFromEvery(
  name: string,
  strategy: () => ParallelStrategy,
  more: TrainerOptions = {},
  fit: FitOptions = {},
): Promise<(readonly string[] | null | undefined)[]> {
  const train = (options: TrainerOptions, ckptPath: string | null = null): ReturnType<typeof run> =>
    run({
      rank: dist.getRank(),
      world: WORLD,
      batch: 24,
      Module: CrossedNet,
      trainer: { maxEpochs: 2, strategy: strategy(), ...more, ...options },
      fit: { ...fit, ckptPath },
    });
  const saves = [1, 2, 3, 4].map((n) => new SaveAfter(n, join(folder, `${name}-${n}.ckpt`)));
  const whole = await train({ callbacks: saves });
  for (const { batches, path } of saves) {
    const { module } = await train({}, path);
    assert.deepEqual(module.losses, whole.module.losses.slice(batches), `losses after ${batches} batches`);
    assert.equal(fingerprint(module), fingerprint(whole.module), `weights after ${batches} batches`);
  }
  return saves.map(({ path }) => readCheckpoint(path).loops?.bucketOrder);
}
const ddp = (options = {}): ParallelStrategy => new DDPStrategy(device("cpu"), options);

const cases: Record<string, RankCase> = {
  "data parallel, from after every step": async () => {
    const orders = await resumesFromEvery("plain", ddp);
    for (const order of orders) assert.equal(order?.length, 7); // six parameters, and the count of losses
  },
  "several buckets": async () => {
    await resumesFromEvery("buckets", () => ddp({ bucketCapMb: 0.001 }));
  },
  "from within and after accumulation windows": async () => {
    const orders = await resumesFromEvery("window", ddp, { accumulateGradBatches: 2 });
    assert.equal(orders[0], undefined, "no gradients were exchanged yet");
    assert.equal(orders[1]?.length, 7);
  },
  "static graphs": async () => {
    const orders = await resumesFromEvery("static", () => ddp({ staticGraph: true }));
    assert.equal(orders[0]?.length, 7);
  },
  "parameters that some backwards leave out": async () => {
    await resumesFromEvery("unused", () => ddp({ findUnusedParameters: true }));
  },
  "gradients that stay where they are, of APEX": async () => {
    await resumesFromEvery("apex", ddp, {
      precision: 16,
      ampBackend: "apex",
      ampLevel: "O1",
      accumulateGradBatches: 2,
    });
  },
  "validation in another precision, which takes hooks off the parameters": async () => {
    const inputs = new DataLoader(new TensorDataset(ones([12, 12])), { batchSize: 4 });
    const often: TrainerOptions = { validationPrecision: "bf16-true", valCheckInterval: 1, numSanityValSteps: 0 };
    await resumesFromEvery("validated", ddp, often, { valDataloaders: inputs });
  },
  "shards, at every stage": async () => {
    for (const stage of [1, 2, 3] as const)
      await resumesFromEvery(`shards-${stage}`, () => new FSDPStrategy(device("cpu"), { stage }));
  },
  "an order of other parameters is refused by the Reducer, on every rank": () => {
    const layer = new nn.Linear(4, 3);
    for (const bucketOrder of [["bias"], ["bias", "bias"], ["weight", "other"], ["weight", "bias", "bias"]])
      assert.throws(() => new dist.Reducer([...layer.namedParameters()], { bucketOrder }), {
        code: "ERR_ARGUMENT",
        message: /^Reducer: expected bucketOrder to name each of the 2 parameters once\. Received: /,
      });
  },
  "rank 0's order is that of all": (rank) => {
    manualSeed(1);
    const layer = new nn.Linear(4, 3);
    const bucketOrder = rank === 0 ? ["weight", "bias"] : ["bias", "weight"];
    const reducer = new dist.Reducer([...layer.namedParameters()], { bucketOrder });
    assert.deepEqual(reducer.bucketOrder, ["weight", "bias"]);
    manualSeed(2 + rank);
    reducer.beforeForward(true);
    const loss = mseLoss(layer.forward(randn([2, 4])), randn([2, 3]));
    reducer.beforeBackward([loss]);
    loss.backward();
    reducer.afterBackward();
    const mine = [...layer.parameters()].map((p) => p.grad?.tolist());
    for (const theirs of dist.allGatherObject(mine)) assert.deepEqual(theirs, mine);
    assert.deepEqual(reducer.bucketOrder, ["weight", "bias"]);
    reducer.free();
  },
};
testRanks(import.meta.url, WORLD, cases);
