import { amp, DataLoader, manualSeed, nn, optim, scope, TensorDataset } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { digits, labels } from "../shared/pictures.js";
import { Net } from "./model.js";

/** The loss of each step. */
export function train({ precision = 32, steps = 240, log = () => {} }: RunOptions = {}): Curves {
  manualSeed(1);
  const loader = new DataLoader(new TensorDataset(digits(4096), labels(4096)), { batchSize: 64, shuffle: true });
  const model = new Net();
  const optimizer = new optim.Adadelta(model.parameters(), { lr: 0.1 });
  const scheduler = new optim.lrScheduler.StepLR(optimizer, { stepSize: 1, gamma: 0.7 });
  const scaler = gradScaler(precision);

  model.train();
  const losses: number[] = [];
  while (losses.length < steps) {
    for (const [data, target] of loader) {
      scope(() => {
        optimizer.zeroGrad();
        const output = amp.autocast(region(precision), () => model.call(data));
        const loss = nn.functional.nllLoss(output.float(), target);
        scaler.scale(loss).backward();
        scaler.step(optimizer);
        scaler.update();
        losses.push(loss.item());
      });
      if (losses.length % 20 === 1) log(`step ${losses.length}: loss ${losses.at(-1)?.toFixed(4)}`);
      if (losses.length >= steps) break;
    }
    scheduler.step();
  }
  return { loss: losses };
}
