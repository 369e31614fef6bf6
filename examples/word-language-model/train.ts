import { amp, manualSeed, nn, noGrad, optim, scope } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { batchify, Corpus, getBatch } from "./data.js";
import { RNNModel, TransformerModel, type RNNType, type State } from "./model.js";

export type Network = RNNType | "Transformer";
type Hidden = State | null;

const [BATCH_SIZE, EVAL_BATCH_SIZE, BPTT, CLIP] = [20, 10, 20, 0.25];
const EVALUATE_EVERY = 12;

/** The state of the last batch without its history: gradients end where the batch begins. */
function repackageHidden(hidden: Hidden): Hidden {
  if (hidden === null) return null;
  return Array.isArray(hidden) ? [hidden[0].detach(), hidden[1].detach()] : (hidden as Tensor).detach();
}

/** The loss of each step, and that of the held-out text at each evaluation: natural logarithms, per word. */
export function train(
  network: Network,
  { precision = 32, steps = 240, log = () => {} }: RunOptions = {},
): Curves<"loss" | "valid"> {
  manualSeed(1111);
  const corpus = new Corpus();
  const trainData = batchify(corpus.train, BATCH_SIZE);
  const valData = batchify(corpus.valid, EVAL_BATCH_SIZE);
  const ntokens = corpus.dictionary.length;
  const model =
    network === "Transformer"
      ? new TransformerModel(ntokens, 64, 2, 64, 2, 0.2)
      : new RNNModel(network, ntokens, 64, 64, 2, 0.2, true);
  const criterion = new nn.NLLLoss();
  let lr = 5;
  const optimizer = new optim.SGD(model.parameters(), { lr });
  const scaler = gradScaler(precision);

  const initHidden = (bsz: number): Hidden => (model instanceof RNNModel ? model.initHidden(bsz) : null);
  const predict = (data: Tensor, hidden: Hidden): [output: Tensor, hidden: Hidden] =>
    amp.autocast(region(precision), () => {
      if (model instanceof TransformerModel) return [model.call(data), null];
      if (hidden === null) throw new Error("a recurrent network goes on from a state");
      return model.call(data, hidden);
    });

  function evaluate(dataSource: Tensor): number {
    model.eval();
    let totalLoss = 0;
    let hidden = initHidden(EVAL_BATCH_SIZE);
    noGrad(() => {
      for (let i = 0; i < dataSource.size(0) - 1; i += BPTT) {
        hidden = scope(() => {
          const [data, targets] = getBatch(dataSource, i, BPTT);
          const [output, next] = predict(data, hidden);
          totalLoss += data.size(0) * criterion.call(output, targets).item();
          return next;
        });
      }
    });
    model.train();
    return totalLoss / (dataSource.size(0) - 1);
  }

  const losses: number[] = [];
  const valid: number[] = [];
  while (losses.length < steps) {
    let hidden = initHidden(BATCH_SIZE);
    for (let i = 0; i < trainData.size(0) - 1 && losses.length < steps; i += BPTT) {
      hidden = scope(() => {
        const [data, targets] = getBatch(trainData, i, BPTT);
        optimizer.zeroGrad();
        const [output, next] = predict(data, repackageHidden(hidden));
        const loss = criterion.call(output, targets);
        scaler.scale(loss).backward();
        // It helps against gradients that explode, as those of recurrent networks do.
        scaler.unscale_(optimizer);
        nn.utils.clipGradNorm_(model.parameters(), CLIP);
        scaler.step(optimizer);
        scaler.update();
        losses.push(loss.item());
        return repackageHidden(next);
      });
      if (losses.length % EVALUATE_EVERY === 1) log(`step ${losses.length}: loss ${losses.at(-1)?.toFixed(4)}`);
      if (losses.length % EVALUATE_EVERY === 0) {
        const loss = evaluate(valData);
        log(`step ${losses.length}: held-out loss ${loss.toFixed(4)}, perplexity ${Math.exp(loss).toFixed(1)}`);
        // Smaller steps as soon as there is no better score.
        if (loss >= Math.min(...valid)) lr /= 4;
        for (const group of optimizer.paramGroups) group.lr = lr;
        valid.push(loss);
      }
    }
  }
  return { loss: losses, valid };
}
