/** The models of the benchmark of several processes, beside those of the GPU benchmark; the same as in baseline.py. */
import { mseLoss, nn, type Tensor } from "@nbit/torch";
import { GPT2, type GptConfig } from "../gpu/models.js";

export const GPTS: Readonly<Record<string, GptConfig>> = {
  gpt2: GPT2,
  "gpt-1.3b": { layers: 24, width: 2048, heads: 16, context: 1024, vocabulary: 50304, batch: 4 },
  "gpt-cpu": { layers: 4, width: 256, heads: 4, context: 128, vocabulary: 256, batch: 4 },
};
export const MLP = { layers: 4, width: 1024, batch: 256 };

/** Linear layers with tanh between them. */
export class Mlp extends nn.Module {
  readonly layers = new nn.ModuleList(Array.from({ length: MLP.layers }, () => new nn.Linear(MLP.width, MLP.width)));
  forward(x: Tensor): Tensor {
    let y = x;
    for (const layer of this.layers) y = layer.forward(y).tanh();
    return y;
  }
  loss(x: Tensor, target: Tensor): Tensor {
    return mseLoss(this.forward(x), target);
  }
}
