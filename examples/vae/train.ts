import { amp, DataLoader, manualSeed, optim, scope, TensorDataset } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { digits } from "../shared/pictures.js";
import { lossFunction, VAE } from "./model.js";

/** The loss of each step, per image. */
export function train({ precision = 32, steps = 300, log = () => {} }: RunOptions = {}): Curves {
  manualSeed(1);
  const loader = new DataLoader(new TensorDataset(digits(4096)), { batchSize: 128, shuffle: true });
  const model = new VAE();
  const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
  const scaler = gradScaler(precision);

  model.train();
  const losses: number[] = [];
  while (losses.length < steps) {
    for (const [data] of loader) {
      scope(() => {
        optimizer.zeroGrad();
        const [reconstruction, mu, logvar] = amp.autocast(region(precision), () => model.call(data));
        const loss = lossFunction(reconstruction, data, mu.float(), logvar.float());
        scaler.scale(loss).backward();
        scaler.step(optimizer);
        scaler.update();
        losses.push(loss.item() / data.size(0));
      });
      if (losses.length % 20 === 1) log(`step ${losses.length}: loss ${losses.at(-1)?.toFixed(4)}`);
      if (losses.length >= steps) break;
    }
  }
  return { loss: losses };
}
