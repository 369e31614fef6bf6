import { amp, DataLoader, manualSeed, nn, noGrad, optim, scope, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { gradScaler, region, type Curves, type Precision, type RunOptions } from "../shared/options.js";
import { pictures } from "../shared/pictures.js";
import { diceCoeff, diceLoss } from "./dice.js";
import { UNet } from "./unet.js";

const F = nn.functional;
const CLASSES = 2;
const EVALUATE_EVERY = 8;

function discs(n: number): TensorDataset<[Tensor, Tensor]> {
  // 38 is not divisible by 16: the way up has to pad.
  const { images, masks } = pictures(n, 3, 38);
  return new TensorDataset(images, masks);
}

const planes = (masks: Tensor): Tensor => F.oneHot(masks, CLASSES).permute(0, 3, 1, 2).float();

/** How well discs are found in pictures that were never trained on, from 0 to 1. */
function evaluate(net: UNet, loader: DataLoader<[Tensor, Tensor]>, precision: Precision): number {
  net.eval();
  const scores = noGrad(() =>
    Array.from(loader, ([image, mask]) =>
      scope(() => {
        const predicted = amp.autocast(region(precision), () => net.call(toChannelsLast(image)));
        return diceCoeff(planes(predicted.argmax(1)).narrow(1, 1, 1), planes(mask).narrow(1, 1, 1)).item();
      }),
    ),
  );
  net.train();
  return scores.reduce((a, b) => a + b, 0) / scores.length;
}

const toChannelsLast = (image: Tensor): Tensor => image.to({ memoryFormat: "channelsLast" });

/** The loss of each step, and the score of each evaluation. */
export function train({ precision = 32, steps = 60, log = () => {} }: RunOptions = {}): Curves<"loss" | "dice"> {
  manualSeed(0);
  const trainLoader = new DataLoader(discs(64), { batchSize: 4, shuffle: true });
  const valLoader = new DataLoader(discs(8), { batchSize: 4, dropLast: true });
  const model = new UNet(3, CLASSES, false, 8);
  model.to({ memoryFormat: "channelsLast" });

  const optimizer = new optim.RMSprop(model.parameters(), {
    lr: 3e-4,
    weightDecay: 1e-8,
    momentum: 0.9,
    foreach: true,
  });
  const scheduler = new optim.lrScheduler.ReduceLROnPlateau(optimizer, "max", { patience: 5 });
  const scaler = gradScaler(precision);
  const criterion = new nn.CrossEntropyLoss();

  const losses: number[] = [];
  const scores: number[] = [];
  while (losses.length < steps) {
    for (const [images, trueMasks] of trainLoader) {
      scope(() => {
        const loss = amp.autocast(region(precision), () => {
          const masksPred = model.call(toChannelsLast(images));
          return criterion.call(masksPred, trueMasks).add(diceLoss(F.softmax(masksPred, 1).float(), planes(trueMasks)));
        });
        optimizer.zeroGrad({ setToNone: true });
        scaler.scale(loss).backward();
        scaler.unscale_(optimizer);
        nn.utils.clipGradNorm_(model.parameters(), 1.0);
        scaler.step(optimizer);
        scaler.update();
        losses.push(loss.item());
      });
      if (losses.length % EVALUATE_EVERY === 1) log(`step ${losses.length}: loss ${losses.at(-1)?.toFixed(4)}`);
      if (losses.length % EVALUATE_EVERY === 0) {
        const score = evaluate(model, valLoader, precision);
        scheduler.step(score);
        scores.push(score);
        log(`step ${losses.length}: Dice score ${score.toFixed(4)}`);
      }
      if (losses.length >= steps) break;
    }
  }
  return { loss: losses, dice: scores };
}
