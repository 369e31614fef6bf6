import { amp, DataLoader, manualSeed, nn, noGrad, optim, scope, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { pictures } from "../shared/pictures.js";
import { Net } from "./model.js";

const UPSCALE = 3;

/** Small pictures, and the large ones that they come from. */
function pairs(n: number): TensorDataset<[Tensor, Tensor]> {
  const { images } = pictures(n, 1, 48);
  const small = nn.functional.interpolate(images, { scaleFactor: 1 / UPSCALE, mode: "bicubic", antialias: true });
  return new TensorDataset(small, images);
}

/** The loss of each step, and the peak signal-to-noise ratio of pictures that were never trained on, in dB. */
export function train({ precision = 32, steps = 100, log = () => {} }: RunOptions = {}): Curves<"loss" | "psnr"> {
  manualSeed(123);
  const trainingData = new DataLoader(pairs(64), { batchSize: 8, shuffle: true });
  const testingData = new DataLoader(pairs(8), { batchSize: 8 });
  const model = new Net(UPSCALE);
  const criterion = new nn.MSELoss();
  const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
  const scaler = gradScaler(precision);

  const losses: number[] = [];
  const ratios: number[] = [];
  while (losses.length < steps) {
    for (const [input, target] of trainingData) {
      scope(() => {
        optimizer.zeroGrad();
        const loss = amp.autocast(region(precision), () => criterion.call(model.call(input), target));
        scaler.scale(loss).backward();
        scaler.step(optimizer);
        scaler.update();
        losses.push(loss.item());
      });
      if (losses.length >= steps) break;
    }

    const ofBatches = noGrad(() =>
      Array.from(testingData, ([input, target]) =>
        scope(() => {
          const prediction = amp.autocast(region(precision), () => model.call(input));
          return 10 * Math.log10(1 / criterion.call(prediction.float(), target).item());
        }),
      ),
    );
    ratios.push(ofBatches.reduce((a, b) => a + b, 0) / ofBatches.length);
    log(`step ${losses.length}: loss ${losses.at(-1)?.toFixed(5)}, PSNR ${ratios.at(-1)?.toFixed(2)} dB`);
  }
  return { loss: losses, psnr: ratios };
}
