/** Every optimizer under the precisions of a Trainer: a few steps, what they leave, and that a run resumes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { optim, type nn, type Tensor } from "@nbit/torch";
import { Classifier, KINDS, type Kind } from "../replay/models.js";
import { trained } from "../replay/train.js";

type Make = (parameters: Iterable<nn.Parameter>) => optim.Optimizer;
const matrices = (p: Iterable<nn.Parameter>): nn.Parameter[] => Array.from(p).filter((each) => each.dim() === 2);
const OPTIMIZERS: Readonly<Record<string, Make>> = {
  Adadelta: (p) => new optim.Adadelta(p, { lr: 0.5 }),
  Adafactor: (p) => new optim.Adafactor(p, { lr: 0.02 }),
  Adagrad: (p) => new optim.Adagrad(p, { lr: 0.05, eps: 1e-4 }),
  Adamax: (p) => new optim.Adamax(p, { lr: 0.02, eps: 1e-4 }),
  ASGD: (p) => new optim.ASGD(p, { lr: 0.1, t0: 2 }),
  Muon: (p) => new optim.Muon(matrices(p), { lr: 0.02 }),
  NAdam: (p) => new optim.NAdam(p, { lr: 0.01, eps: 1e-4 }),
  RAdam: (p) => new optim.RAdam(p, { lr: 0.02, eps: 1e-4 }),
  RMSprop: (p) => new optim.RMSprop(p, { lr: 5e-3, momentum: 0.3, eps: 1e-4 }),
  Rprop: (p) => new optim.Rprop(p, { lr: 1e-3 }),
};
/** And the dtype of state in each. Below 1e-7, an eps is 0 in float16. */
const PRECISIONS = [
  ["32-true", "float32"],
  ["64-true", "float64"],
  ["16-mixed", "float32"],
  ["bf16-mixed", "float32"],
  ["16-true", "float16"],
  ["bf16-true", "bfloat16"],
] as const;
const MLP = KINDS["mlp"] as Kind;

for (const [name, optimizer] of Object.entries(OPTIMIZERS))
  test(`${name}: learns in every precision; its state has the dtype that it says`, async () => {
    for (const [precision, dtype] of PRECISIONS) {
      const losses: number[] = [];
      class Watched extends Classifier {
        override trainingStep(batch: Parameters<Classifier["trainingStep"]>[0]): Tensor {
          const loss = super.trainingStep(batch) as Tensor;
          losses.push(loss.item());
          return loss;
        }
      }
      const batch = MLP.batch();
      const { trainer } = await trained(
        () => ({ module: new Watched(MLP, optimizer), batches: new Array<unknown>(12).fill(batch) }),
        { precision, replay: false },
      );
      const mean = (list: readonly number[]): number => list.reduce((sum, loss) => sum + loss, 0) / list.length;
      assert.ok(mean(losses.slice(-6)) < mean(losses.slice(0, 6)), `${precision}: ${losses.join(" ")}`);
      const [used] = trainer.optimizers;
      const states = [...(used as optim.Optimizer).state.values()];
      assert.ok(states.length > 0, precision);
      for (const state of states)
        for (const [key, value] of Object.entries(state)) {
          const { dtype: kept } = value as Tensor;
          assert.equal(
            kept,
            ["step", "eta", "mu", "muProduct"].includes(key) ? "float32" : dtype,
            `${precision}, ${key}`,
          );
        }
    }
  });
