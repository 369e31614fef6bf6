/** A net that remembers the dtypes between its layers. */
import { nn, relu, type Tensor } from "@nbit/torch";

export class Net extends nn.Module {
  readonly fc1 = new nn.Linear(8, 16);
  readonly bn = new nn.BatchNorm1d(16);
  readonly fc2 = new nn.Linear(16, 4);
  seen: string[] = [];
  forward(x: Tensor): Tensor {
    const a = this.fc1.forward(x);
    const b = this.bn.forward(a);
    const c = this.fc2.forward(relu(b));
    this.seen = [x.dtype, a.dtype, b.dtype, c.dtype];
    return c;
  }
}
