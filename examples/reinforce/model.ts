/** A policy for the pole on a cart, as in PyTorch's examples. */
import { nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

const F = nn.functional;

export class Policy extends nn.Module {
  affine1 = new nn.Linear(4, 128);
  dropout = new nn.Dropout({ p: 0.6 });
  affine2 = new nn.Linear(128, 2);

  /** The probabilities of the two actions, `[N, 2]`, in float32. */
  override forward(x: Tensor): Tensor {
    x = this.affine1.call(x);
    x = this.dropout.call(x);
    x = F.relu(x);
    const actionScores = this.affine2.call(x);
    return F.softmax(actionScores.float(), 1);
  }
}
