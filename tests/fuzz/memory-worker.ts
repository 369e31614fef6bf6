/**
 * Trains and saves with one allocation failing, and looks at what is left: the error, tensors, weights, generators,
 * autograd, files. A process of its own, which must not die.
 *
 *     node memory-worker.js <plan> <n,n,…>     one line of JSON for the plan ({ allocations }), and one for each n ({ n, outcome, wrong })
 */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LightningModule, ModelCheckpoint, readCheckpoint, Trainer } from "@nbit/lightning";
import {
  crossEntropyLoss,
  DataLoader,
  getDefaultDtype,
  isGradEnabled,
  isInferenceModeEnabled,
  memory,
  nn,
  type optim,
  OutOfMemoryError,
  rand,
  randint,
  randn,
  scope,
  seedEverything,
  setNumThreads,
  tensor,
  TensorDataset,
  type Tensor,
} from "@nbit/torch";
import { failAllocations } from "@nbit/torch/testing";
import { SILENT } from "../helpers/training.js";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { isPlan, PLANS, type Plan } from "./memory-plans.js";

const [name = "", list = ""] = process.argv.slice(2);
assert.ok(isPlan(name), `no such plan: ${name}`);
const plan: Plan = PLANS[name];
setNumThreads(1);
process.on("warning", () => undefined); // emulated 16 bits

class Net extends LightningModule {
  readonly net = new nn.Sequential(
    new nn.Linear(4, 8),
    new nn.BatchNorm1d(8),
    new nn.ReLU(),
    new nn.Dropout(0.2),
    new nn.Linear(8, 3),
  );
  optimizer: optim.Optimizer | null = null;
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const loss = crossEntropyLoss(this.net.forward(x), y);
    this.log("loss", loss);
    return loss;
  }
  override validationStep([x, y]: [Tensor, Tensor]): void {
    this.log("val_loss", crossEntropyLoss(this.net.forward(x), y));
  }
  override configureOptimizers(): optim.Optimizer {
    this.optimizer = plan.optimizer(this.parameters());
    return this.optimizer;
  }
  /**
   * Called with the weights of a whole number of steps: before the first, in the dtype of training, and after each
   * batch.
   */
  whole = (): void => undefined;
  override onTrainStart(): void {
    this.whole();
  }
  override onTrainBatchEnd(): void {
    this.whole();
  }
}

seedEverything(1);
const data = new TensorDataset(randn([12, 4]), randint(0, 3, [12]));
const root = mkdtempSync(join(tmpdir(), "nbit-memory-"));
process.on("exit", () => rmSync(root, { recursive: true }));

/** Two epochs of two batches with validation, a checkpoint of the callback at each, and one by hand. */
async function fitAndSave(module: Net, folder = mkdtempSync(join(root, "fit-"))): Promise<void> {
  const trainer = new Trainer({
    accelerator: "cpu",
    ...SILENT,
    ...plan.options,
    enableCheckpointing: true,
    maxEpochs: 2,
    callbacks: [new ModelCheckpoint({ dirpath: folder, filename: "best", monitor: "val_loss", saveLast: true })],
  });
  await trainer.fit(module, {
    trainDataloaders: new DataLoader(data, { batchSize: 6, shuffle: true }),
    valDataloaders: new DataLoader(data, { batchSize: 6 }),
  });
  trainer.saveCheckpoint(join(folder, "by-hand.ckpt"));
}
function make(): Net {
  seedEverything(2);
  return new Net();
}

const text = (t: Tensor): string => Buffer.from(t.detach().contiguous().toBytes()).toString("base64");
/** The weights, and all that their optimizer remembers. */
function stateOf({ net, optimizer }: Net): { readonly weights: string; readonly memory: string } {
  const state = Object.entries(optimizer?.stateDict().state ?? {}).map(([i, values]) => [
    i,
    Object.entries(values).map(([key, value]) => [key, isTensorLike(value) ? text(value) : value]),
  ]);
  return scope(() => ({ weights: [...net.parameters()].map(text).join(), memory: JSON.stringify(state) }));
}
const isTensorLike = (value: unknown): value is Tensor =>
  typeof value === "object" && value !== null && "toBytes" in value;

interface Reference {
  readonly allocations: number;
  /** After each number of whole steps. */
  readonly states: ReturnType<typeof stateOf>[];
  /** Tensors that a fit leaves to the garbage collector: what its optimizer remembers. */
  readonly kept: number;
  readonly after: readonly number[];
}
/** Checkpoints that a later failure must not spoil. */
const sound = mkdtempSync(join(root, "sound-"));
const draw = (): number[] => scope(() => rand([4]).tolist() as number[]);

async function undisturbed(): Promise<Reference> {
  const states: Reference["states"] = [];
  const module = make();
  states.push(stateOf(module));
  module.whole = () => void states.push(stateOf(module));
  await fitAndSave(module);
  await fitAndSave(make(), sound);
  const again = make();
  const before = memory();
  await fitAndSave(again);
  const after = memory();
  assert.deepEqual(stateOf(again), states.at(-1));
  return {
    allocations: after.allocations - before.allocations,
    states,
    kept: after.unreleased - before.unreleased,
    after: draw(),
  };
}

function checkProcess(): void {
  assert.deepEqual([isGradEnabled(), isInferenceModeEnabled(), getDefaultDtype()], [true, false, "float32"], "modes");
  scope(() => {
    const w = tensor([
      [1, 2],
      [3, 4],
    ]).requiresGrad_();
    const y = w.mm(w);
    assert.equal(y.dtype, "float32", "no autocast region is open");
    y.sum().backward();
    assert.deepEqual(
      w.grad?.tolist(),
      [
        [7, 11],
        [9, 13],
      ],
      "gradients",
    );
  });
}
function checkFiles(folder: string): void {
  const files = readdirSync(folder);
  for (const file of files) {
    assert.match(file, /^(best|last|by-hand)(-v\d+)?\.ckpt$/, "no file is left of a save that failed");
    scope(() => assert.ok(readCheckpoint(join(folder, file)).globalStep > 0));
  }
  assert.ok(files.includes("by-hand.ckpt") && files.includes("last.ckpt"), "earlier checkpoints are there");
}

const SAYS = /(The step of \w+|Module\.to) was interrupted/;

async function disturbed(n: number, reference: Reference): Promise<string> {
  let outcome = "success";
  const attempt = async (): Promise<void> => {
    const module = make();
    const folder = mkdtempSync(join(root, "failing-"));
    cpSync(sound, folder, { recursive: true });
    const before = memory().unreleased;
    failAllocations(n, { count: n % 3 === 0 ? 5 : 1, badAlloc: n % 2 === 0 });
    let error: unknown = null;
    try {
      await fitAndSave(module, folder);
    } catch (e) {
      error = e;
    }
    failAllocations(0);
    const { unreleased } = memory();
    if (error !== null && !(error instanceof OutOfMemoryError && error.code === "TORCH_OUT_OF_MEMORY"))
      throw new Error(
        `an error of another kind: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        { cause: error },
      );
    assert.ok(
      unreleased - before <= reference.kept,
      `${unreleased - before} tensors left, ${reference.kept} after a fit that succeeds`,
    );
    checkProcess();
    checkFiles(folder);
    rmSync(folder, { recursive: true });
    const state = stateOf(module);
    if (error === null)
      assert.deepEqual(state, reference.states.at(-1), "an error that nobody saw has changed the result");
    else {
      outcome = error.message;
      const { states } = reference;
      if (!SAYS.test(error.message))
        assert.ok(
          states.some((s) => s.weights === state.weights),
          `weights of no whole number of steps, of which nothing is said: ${error.message}`,
        );
      if (!SAYS.test(error.message) && states.some((s) => s.memory !== "[]" && s.weights === state.weights)) {
        assert.ok(
          states.some((s) => s.weights === state.weights && s.memory === state.memory) || state.memory === "[]",
          `the optimizer's memory is of other steps than the weights: ${error.message}`,
        );
      }
      assert.ok(
        [...module.parameters()].every((p) => p.isfinite().all().item()),
        "finite weights",
      );
    }
    // The model is as good as new weights: another fit succeeds, and gives what it gives a model that was never
    // disturbed.
    const copy = make();
    module.loadStateDict(copy.stateDict());
    seedEverything(2);
    make();
    await fitAndSave(module);
    assert.deepEqual(stateOf(module), reference.states.at(-1), "a further fit");
    assert.deepEqual(draw(), reference.after, "random numbers after it");
  };
  await attempt();
  return outcome;
}
/** What nobody holds any more the garbage collector frees, in time: as many tensors as before. */
async function checkLeaks(tensors: number): Promise<void> {
  for (let i = 0; i < 5 && memory().tensors > tensors; i++) await collectGarbage();
  assert.ok(memory().tensors <= tensors, `${memory().tensors - tensors} tensors leaked`);
}

const reference = await undisturbed();
await collectGarbage();
const { tensors } = memory();
console.log(
  JSON.stringify({ allocations: reference.allocations, states: reference.states.length, kept: reference.kept }),
);
const wanted = list === "" ? [] : list.split(",").map(Number);
for (const [i, n] of wanted.entries()) {
  let wrong: string | null = null;
  let outcome = "";
  try {
    outcome = await disturbed(n, reference);
    if (i % 20 === 19 || i === wanted.length - 1) await checkLeaks(tensors);
  } catch (error) {
    wrong = error instanceof Error ? (error.stack ?? error.message) : String(error);
    failAllocations(0);
  }
  console.log(JSON.stringify({ n, outcome, wrong }));
}
