import { amp, DataLoader, manualSeed, nn, noGrad, optim, scope, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { pictures } from "../shared/pictures.js";
import { Features } from "./features.js";
import { TransformerNet } from "./transformer-net.js";

const CONTENT_WEIGHT = 1;
const STYLE_WEIGHT = 1e3;

/** Which features occur together, `[batch, channels, channels]`. */
function gramMatrix(y: Tensor): Tensor {
  const [b, ch, h, w] = y.size();
  const features = y.view(b, ch, w * h);
  return features.bmm(features.transpose(1, 2)).div(ch * h * w);
}

/** The losses of each step: of both kinds, and their weighted sum. */
export function train({ precision = 32, steps = 60, log = () => {} }: RunOptions = {}): Curves<
  "loss" | "content" | "style"
> {
  manualSeed(42);
  const loader = new DataLoader(new TensorDataset(pictures(64, 3, 48).images), { batchSize: 2 });
  const style = pictures(1, 3, 48).images.expand(2, -1, -1, -1);
  const transformer = new TransformerNet(8);
  const vgg = new Features();
  const optimizer = new optim.Adam(transformer.parameters(), { lr: 1e-3 });
  const mseLoss = new nn.MSELoss();
  const scaler = gradScaler(precision);

  const gramStyle = noGrad(() => amp.autocast(region(precision), () => Object.values(vgg.call(style)).map(gramMatrix)));

  const losses: number[] = [];
  const contents: number[] = [];
  const styles: number[] = [];
  while (losses.length < steps) {
    for (const [x] of loader) {
      scope(() => {
        optimizer.zeroGrad();
        const [contentLoss, styleLoss] = amp.autocast(region(precision), () => {
          const y = transformer.call(x);
          const featuresY = vgg.call(y);
          const featuresX = vgg.call(x);
          const contentLoss = mseLoss.call(featuresY.relu22, featuresX.relu22).mul(CONTENT_WEIGHT);
          const styleLoss = Object.values(featuresY)
            .map((feature, i) => mseLoss.call(gramMatrix(feature), gramStyle[i]))
            .reduce((a, b) => a.add(b))
            .mul(STYLE_WEIGHT);
          return [contentLoss, styleLoss] as const;
        });
        const totalLoss = contentLoss.add(styleLoss);
        scaler.scale(totalLoss).backward();
        scaler.step(optimizer);
        scaler.update();
        contents.push(contentLoss.item());
        styles.push(styleLoss.item());
        losses.push(totalLoss.item());
      });
      if (losses.length % 10 === 1)
        log(
          `step ${losses.length}: content ${contents.at(-1)?.toFixed(4)}, style ${styles.at(-1)?.toFixed(4)}, total ${losses.at(-1)?.toFixed(4)}`,
        );
      if (losses.length >= steps) break;
    }
  }
  return { loss: losses, content: contents, style: styles };
}
