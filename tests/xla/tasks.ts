/** Small tasks of the kinds that people train. */
import { crossEntropyLoss, mseLoss, nn, optim, rand, randint, randn, type Tensor } from "@nbit/torch";
import { Gpt, Recurrent, Transformer, Vit } from "./sequences.js";
import { taskOf, type Task } from "./five-steps.js";
import { Autoencoder, Cnn, ResNet, UNet } from "./vision.js";

const classes =
  (...shape: number[]) =>
  (): readonly [Tensor, Tensor] => [randn(shape), randint(0, 5, [shape[0] as number])];
const images = (): readonly [Tensor, Tensor] => {
  const x = rand([4, 3, 16, 16]);
  return [x, x];
};
type Net = nn.Module & { forward(x: Tensor): Tensor };
const classify = {
  loss: (net: Net, [x, y]: readonly Tensor[]) => crossEntropyLoss(net.forward(x as Tensor), y as Tensor),
};
const copy = {
  loss: (net: Net, [x, y]: readonly Tensor[]) => mseLoss(net.forward(x as Tensor), y as Tensor),
  batch: images,
};

/**
 * Adam would make whole steps of what twenty layers round differently. In bfloat16 their losses move by 1e-2, whoever
 * computes them: as much as between bfloat16 and float32.
 */
const momentum = {
  bfloat16Loss: 5e-2,
  optimizer: (p: readonly Tensor[]) => new optim.SGD(p, { momentum: 0.9, fused: true }),
};

const NETS: Readonly<Record<string, Task<Net>>> = {
  mlp: {
    net: () =>
      new nn.Sequential(
        new nn.Linear(12, 32),
        new nn.ReLU(),
        new nn.Linear(32, 32),
        new nn.GELU(),
        new nn.Linear(32, 5),
      ),
    batch: classes(16, 12),
    ...classify,
  },
  cnn: { net: () => new Cnn(), batch: classes(8, 3, 16, 16), ...classify },
  "resnet-18": {
    net: () => new ResNet(false, [2, 2, 2, 2], 8),
    batch: classes(8, 3, 48, 48),
    ...classify,
    ...momentum,
  },
  "resnet-50": { net: () => new ResNet(true, [3, 4, 6, 3], 4), batch: classes(8, 3, 48, 48), ...classify, ...momentum },
  lstm: { net: () => new Recurrent("lstm"), batch: classes(4, 7, 6), ...classify },
  gru: { net: () => new Recurrent("gru"), batch: classes(4, 7, 6), ...classify },
  transformer: { net: () => new Transformer(), batch: classes(4, 9, 6), ...classify },
  gpt: { net: () => new Gpt(), batch: () => [randint(0, 17, [4, 8]), randint(0, 17, [32])], ...classify },
  vit: { net: () => new Vit(), batch: classes(16, 3, 16, 16), ...classify },
  unet: { net: () => new UNet(), ...copy },
  autoencoder: { net: () => new Autoencoder(), ...copy },
};
export const TASKS: Readonly<Record<string, Task>> = Object.fromEntries(
  Object.entries(NETS).map(([name, task]) => [name, taskOf(task)]),
);
