import { fileURLToPath } from "node:url";
import { amp, load, manualSeed, nn, noGrad, randint, save, scope, stack, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { book } from "../shared/text.js";
import { GPT, type GPTConfig } from "./model.js";

/** Written by torch.save in reference.py, after 16 steps. */
export const CHECKPOINT = fileURLToPath(new URL("../../nanogpt/checkpoint.pt", import.meta.url));

/** What nanoGPT saves, under its names in Python. */
interface Checkpoint {
  readonly model: ReadonlyMap<string, Tensor>;
  readonly optimizer: Record<string, unknown>;
  readonly model_args: Readonly<Record<string, number | boolean>>;
  readonly iter_num: number;
  readonly best_val_loss: number;
}

export interface TrainOptions extends RunOptions {
  /** A file to go on from. Default: a model begins from scratch. */
  readonly resume?: string;
  /** Where the checkpoint of the best score so far goes. Default: nowhere. */
  readonly out?: string;
  /** Characters to write in the end. Default 0. */
  readonly sample?: number;
}

const [EVAL_INTERVAL, EVAL_ITERS, GRADIENT_ACCUMULATION_STEPS, BATCH_SIZE, BLOCK_SIZE] = [8, 4, 2, 8, 32];
const [LEARNING_RATE, MIN_LR, WARMUP_ITERS, LR_DECAY_ITERS] = [5e-3, 5e-4, 10, 400];
const [WEIGHT_DECAY, GRAD_CLIP] = [0.1, 1.0];

/** Linear at first, then a cosine down to the least. */
function getLr(it: number): number {
  if (it < WARMUP_ITERS) return (LEARNING_RATE * (it + 1)) / (WARMUP_ITERS + 1);
  if (it > LR_DECAY_ITERS) return MIN_LR;
  const decayRatio = (it - WARMUP_ITERS) / (LR_DECAY_ITERS - WARMUP_ITERS);
  const coeff = 0.5 * (1.0 + Math.cos(Math.PI * decayRatio));
  return MIN_LR + coeff * (LEARNING_RATE - MIN_LR);
}

/** Characters by number, in the order of their codes. */
function prepare(): { readonly chars: readonly string[]; readonly train: Tensor; readonly val: Tensor } {
  const data = book().slice(0, 200_000);
  const chars = [...new Set(data)].sort();
  const stoi = new Map(chars.map((c, i) => [c, i]));
  const ids = tensor(Uint8Array.from(data, (c) => stoi.get(c) ?? 0)).long();
  return { chars, train: ids.narrow(0, 0, 180_000), val: ids.narrow(0, 180_000, 20_000) };
}

function getBatch(data: Tensor): [x: Tensor, y: Tensor] {
  const ix = randint(0, data.size(0) - BLOCK_SIZE, [BATCH_SIZE]).tolist() as number[];
  const x = stack(ix.map((i) => data.narrow(0, i, BLOCK_SIZE)));
  const y = stack(ix.map((i) => data.narrow(0, i + 1, BLOCK_SIZE)));
  return [x, y];
}

/** The arguments of a model, from their names in Python. */
function configOf(args: Checkpoint["model_args"]): GPTConfig {
  const number = (name: string): number => Number(args[name]);
  return {
    blockSize: number("block_size"),
    vocabSize: number("vocab_size"),
    nLayer: number("n_layer"),
    nHead: number("n_head"),
    nEmbd: number("n_embd"),
    dropout: number("dropout"),
    bias: args["bias"] === true,
  };
}

/** A run from scratch, or where a checkpoint stands. */
function begin(resume: string | undefined, vocabSize: number) {
  const checkpoint = resume === undefined ? null : load<Checkpoint>(resume);
  const modelArgs = checkpoint?.model_args ?? {
    ...{ n_layer: 2, n_head: 2, n_embd: 24, block_size: BLOCK_SIZE, bias: false },
    ...{ vocab_size: vocabSize, dropout: 0.1 },
  };
  const model = new GPT(configOf(modelArgs));
  const optimizer = model.configureOptimizers(WEIGHT_DECAY, LEARNING_RATE, [0.9, 0.99]);
  if (checkpoint !== null) {
    // Models that were compiled have a prefix.
    const state = [...checkpoint.model].map(([k, v]) => [k.replace(/^_orig_mod\./, ""), v] as const);
    model.loadStateDict(new Map(state));
    optimizer.loadStateDict(checkpoint.optimizer);
  }
  const { iter_num: iterNum = 0, best_val_loss: bestValLoss = 1e9 } = checkpoint ?? {};
  return { model, optimizer, modelArgs, iterNum, bestValLoss };
}

/** The loss of each step, and the held-out loss of each evaluation: natural logarithms, per character. */
export function train(options: TrainOptions = {}): Curves<"loss" | "val"> {
  const { precision = 32, steps = 240, log = () => {}, resume, out, sample = 0 } = options;
  manualSeed(1337);
  const data = prepare();
  const { model, optimizer, modelArgs, ...begun } = begin(resume, data.chars.length);
  let { iterNum, bestValLoss } = begun;
  const scaler = gradScaler(precision);

  const lossOf = ([x, y]: readonly [Tensor, Tensor]): Tensor =>
    amp.autocast(region(precision), () => model.call(x, y)[1]);

  function estimateLoss(): number {
    model.eval();
    const losses = noGrad(() =>
      Array.from({ length: EVAL_ITERS }, () => scope(() => lossOf(getBatch(data.val)).item())),
    );
    model.train();
    return losses.reduce((a, b) => a + b, 0) / EVAL_ITERS;
  }

  const losses: number[] = [];
  const val: number[] = [];
  while (losses.length < steps) {
    const lr = getLr(iterNum);
    for (const paramGroup of optimizer.paramGroups) paramGroup.lr = lr;

    if (iterNum % EVAL_INTERVAL === 0) {
      const valLoss = estimateLoss();
      val.push(valLoss);
      log(`step ${iterNum}: val loss ${valLoss.toFixed(4)}`);
      if (out !== undefined && iterNum > 0 && valLoss < bestValLoss)
        save(
          {
            model: model.stateDict(),
            optimizer: optimizer.stateDict(),
            model_args: modelArgs,
            iter_num: iterNum,
            best_val_loss: valLoss,
          },
          out,
        );
      bestValLoss = Math.min(bestValLoss, valLoss);
    }

    scope(() => {
      let total = 0;
      for (let microStep = 0; microStep < GRADIENT_ACCUMULATION_STEPS; microStep++) {
        const loss = lossOf(getBatch(data.train)).div(GRADIENT_ACCUMULATION_STEPS);
        scaler.scale(loss).backward();
        total += loss.item();
      }
      scaler.unscale_(optimizer);
      nn.utils.clipGradNorm_(model.parameters(), GRAD_CLIP);
      scaler.step(optimizer);
      scaler.update();
      optimizer.zeroGrad({ setToNone: true });
      losses.push(total);
    });
    if (iterNum % EVAL_INTERVAL === 0) log(`iter ${iterNum}: loss ${losses.at(-1)?.toFixed(4)}`);
    iterNum++;
  }

  if (sample > 0) {
    model.eval();
    const start = tensor([[data.chars.indexOf("\n")]]).long();
    const written = model.generate(start, sample, 0.8, 20).at(0).tolist() as number[];
    log(written.map((i) => data.chars[i]).join(""));
  }
  return { loss: losses, val };
}
