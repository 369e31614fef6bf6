import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@nbit/torch";
import { nn, optim, TensorDataset, DataLoader, type Tensor } from "@nbit/torch";
import { LightningModule, Trainer, type TrainerOptions } from "./index.js";

class Block extends nn.Module {
  readonly norm: nn.BatchNorm1d;
  readonly fc1: nn.Linear;
  readonly fc2: nn.Linear;
  readonly drop = new nn.Dropout(0.2);
  runs = 0;
  constructor(width: number) {
    super();
    this.norm = new nn.BatchNorm1d(width);
    this.fc1 = new nn.Linear(width, 4 * width);
    this.fc2 = new nn.Linear(4 * width, width);
  }
  forward(x: Tensor): Tensor {
    this.runs++;
    return this.drop.forward(this.fc2.forward(torch.gelu(this.fc1.forward(this.norm.forward(x))))).add(x);
  }
}
class Unused extends nn.Module {
  forward(x: Tensor): Tensor {
    return x;
  }
}
class Net extends LightningModule {
  readonly blocks: nn.ModuleList<Block>;
  readonly losses: number[] = [];
  peak = 0;
  constructor(width: number, count: number) {
    super();
    this.blocks = new nn.ModuleList(Array.from({ length: count }, () => new Block(width)));
  }
  #forward(x: Tensor): Tensor {
    return [...this.blocks].reduce((h, block) => block.call(h), x);
  }
  get first(): Block {
    return [...this.blocks][0] as Block;
  }
  override trainingStep([x]: [Tensor]): Tensor {
    torch.resetPeakMemory();
    const loss = this.#forward(x).square().mean();
    this.losses.push(loss.item());
    return loss;
  }
  override onAfterBackward(): void {
    this.peak = torch.memory().peakBytes;
  }
  override validationStep([x]: [Tensor]): void {
    this.#forward(x);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 1e-2, eps: 1e-3 });
  }
}
const QUIET = { accelerator: "cpu", logger: false, enableCheckpointing: false, enableProgressBar: false, enableModelSummary: false } as const; // prettier-ignore

interface Trained {
  readonly net: Net;
  readonly trainer: Trainer;
  readonly state: readonly string[];
}
async function train(options: TrainerOptions, width = 8, rows = 12, blocks = 2): Promise<Trained> {
  torch.seedEverything(5);
  const net = new Net(width, blocks);
  const loader = new DataLoader(new TensorDataset(torch.randn([rows, width])), { batchSize: rows / 3, shuffle: true });
  const trainer = new Trainer({ ...QUIET, maxEpochs: 2, numSanityValSteps: 0, replay: false, ...options });
  await trainer.fit(net, { trainDataloaders: loader, valDataloaders: loader });
  const tensors = [...net.parameters(), ...net.buffers()];
  return { net, trainer, state: tensors.map((t) => Buffer.from(t.toBytes()).toString("base64")) };
}

for (const precision of [32, 64, "bf16", "16-true", "bf16-true"] as const)
  test(`activationCheckpointing trains to the same bits, precision ${precision}`, async () => {
    const plain = await train({ precision });
    const again = await train({ precision, activationCheckpointing: [Block] });
    assert.deepEqual(again.net.losses, plain.net.losses);
    assert.deepEqual(again.state, plain.state);
    // Six batches of training, twice, and three of validation in each epoch, once.
    assert.deepEqual([plain.net.first.runs, again.net.first.runs], [12, 18]);
    assert.equal(Object.hasOwn(again.net.first, "forward"), false);
  });

test("under loss scaling, apex's lists and replays as well", async () => {
  for (const options of [
    { precision: 16, ampBackend: "apex", ampLevel: "O1" },
    { precision: 32, replay: "auto" },
    { precision: "bf16", accumulateGradBatches: 2 },
  ] as const) {
    const plain = await train(options);
    assert.deepEqual((await train({ ...options, activationCheckpointing: [Block] })).state, plain.state);
  }
});

test("its peak of memory is lower", async () => {
  const plain = await train({ limitValBatches: 0 }, 64, 3 * 1024, 6);
  const again = await train({ limitValBatches: 0, activationCheckpointing: [nn.Linear, Block] }, 64, 3 * 1024, 6);
  assert.deepEqual(again.state, plain.state);
  assert.ok(again.net.peak < 0.6 * plain.net.peak, `${again.net.peak} of ${plain.net.peak}`);
});

test("explain forecasts what it saves and costs on a batch, and leaves no trace", async () => {
  const { net, trainer } = await train({ maxEpochs: 1 });
  const before = [net.first.runs, ...net.parameters().map((p) => p.sum().item())];
  const batch = [torch.randn([4, 8])];
  assert.equal(trainer.precision.explain({ print: false }).activations, null);
  const { activations, ...rest } = trainer.precision.explain({ batch, activationCheckpointing: [Block], print: false });
  assert.ok(activations !== null);
  const { modules, calls, saved, kept, plainSeconds, seconds } = activations;
  // Of 4 × 8 floats the norm's output, of 4 × 32 those around gelu; and what is smaller.
  assert.deepEqual([modules, calls, kept], ["Block", 2, 2 * 4 * 8 * 4]);
  assert.ok(saved >= 2 * 4 * (8 + 32 + 32) * 4 && saved < 3 * 4 * (8 + 32 + 32) * 4, `${saved}`);
  assert.ok(plainSeconds > 0 && seconds > 0);
  assert.ok(String(trainer.precision.explain({ batch, activationCheckpointing: [Block], print: false })).includes("2 forwards run again")); // prettier-ignore
  assert.deepEqual(
    net.parameters().map((p) => p.sum().item()),
    before.slice(1),
  );
  assert.equal(Object.hasOwn(net.first, "forward"), false);
  assert.ok("dtypes" in rest);
  const none = new Trainer(QUIET);
  assert.throws(() => none.precision.explain({ batch, print: false }), { code: "ERR_NOT_ATTACHED" });
});

test("what is wrong is said before any step, and the module is as it was", async () => {
  assert.throws(() => new Trainer({ ...QUIET, activationCheckpointing: Block as never }), {
    code: "ERR_TRAINER_OPTION",
  });
  assert.throws(() => new Trainer({ ...QUIET, activationCheckpointing: [{}] as never }), {
    code: "ERR_TRAINER_OPTION",
  });
  assert.throws(() => new Trainer({ ...QUIET, activationCheckpointing: [Block], cudaGraph: true }), { code: "ERR_ACTIVATION_GRAPH" }); // prettier-ignore
  assert.throws(() => new Trainer({ ...QUIET, activationOffloading: true, cudaGraph: true }), { code: "ERR_ACTIVATION_GRAPH" }); // prettier-ignore
  await assert.rejects(train({ activationCheckpointing: [Block, Unused] }), {
    code: "ERR_ACTIVATION_CHECKPOINTING",
    message: /Received: "Unused"\. It has modules of ModuleList, Block, BatchNorm1d/,
  });
});

test("activationOffloading on the CPU changes nothing, and says so", async (t) => {
  const warned: string[] = [];
  t.mock.method(process, "emitWarning", (message: string) => void warned.push(message));
  const plain = await train({});
  assert.deepEqual((await train({ activationOffloading: true })).state, plain.state);
  assert.ok(warned.some((message) => message.includes("activationOffloading changes nothing")));
});
