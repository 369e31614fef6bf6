import { amp, DataLoader, manualSeed, nn, noGrad, optim, scope, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { pictures } from "../shared/pictures.js";
import { GaussianDiffusion } from "./diffusion.js";
import { Unet } from "./unet.js";

const { AveragedModel, getEmaMultiAvgFn } = optim.swaUtils;
const SIZE = 16;
const TIMESTEPS = 50;

/** The loss of each step, and the mean of every picture that the averaged weights draw at the end. */
export function train({ precision = 32, steps = 200, log = () => {} }: RunOptions = {}): Curves<"loss" | "samples"> {
  manualSeed(0);
  const loader = new DataLoader(new TensorDataset(pictures(128, 1, SIZE).images), { batchSize: 8, shuffle: true });
  const diffusion = new GaussianDiffusion(new Unet(16, 1), SIZE, 1, TIMESTEPS);
  const optimizer = new optim.Adam(diffusion.parameters(), { lr: 1e-3, betas: [0.9, 0.99] });
  const ema = new AveragedModel(diffusion, { multiAvgFn: getEmaMultiAvgFn(0.95) });
  const scaler = gradScaler(precision);

  const losses: number[] = [];
  while (losses.length < steps) {
    for (const [data] of loader) {
      scope(() => {
        const loss = amp.autocast(region(precision), () => diffusion.call(data));
        scaler.scale(loss).backward();
        scaler.unscale_(optimizer);
        nn.utils.clipGradNorm_(diffusion.parameters(), 1.0);
        scaler.step(optimizer);
        scaler.update();
        optimizer.zeroGrad();
        ema.updateParameters(diffusion);
        losses.push(loss.item());
      });
      if (losses.length % 20 === 1) log(`step ${losses.length}: loss ${losses.at(-1)?.toFixed(4)}`);
      if (losses.length >= steps) break;
    }
  }

  const pictured = noGrad(() => scope(() => ema.module.sample(4)));
  log(`a sample of the averaged weights:\n${drawing(pictured.select(0, 0).select(0, 0))}`);
  return { loss: losses, samples: pictured.mean([1, 2, 3]).tolist() as number[] };
}

/** A picture `[h, w]` in characters. */
function drawing(image: Tensor): string {
  const shades = " .:-=+*#%@";
  const rows = image.tolist() as number[][];
  return rows.map((row) => row.map((x) => (shades[Math.round(x * 9)] ?? " ").repeat(2)).join("")).join("\n");
}
