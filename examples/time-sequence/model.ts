/** Sine waves foretold by two LSTM cells, as in PyTorch's examples. */
import { nn, stack, zeros } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

export class Sequence extends nn.Module {
  lstm1 = new nn.LSTMCell(1, 51);
  lstm2 = new nn.LSTMCell(51, 51);
  linear = new nn.Linear(51, 1);

  /** The value after each of `input` `[N, T]`, and then `future` values that follow from those foretold. */
  override forward(input: Tensor, future = 0): Tensor {
    const outputs: Tensor[] = [];
    const options = { dtype: input.dtype };
    let [h1, c1] = [zeros([input.size(0), 51], options), zeros([input.size(0), 51], options)];
    let [h2, c2] = [zeros([input.size(0), 51], options), zeros([input.size(0), 51], options)];
    let output = zeros([input.size(0), 1], options);

    for (const step of input.split(1, 1)) {
      [h1, c1] = this.lstm1.call(step, [h1, c1]);
      [h2, c2] = this.lstm2.call(h1, [h2, c2]);
      output = this.linear.call(h2);
      outputs.push(output);
    }
    for (let i = 0; i < future; i++) {
      [h1, c1] = this.lstm1.call(output, [h1, c1]);
      [h2, c2] = this.lstm2.call(h1, [h2, c2]);
      output = this.linear.call(h2);
      outputs.push(output);
    }
    return stack(outputs, 1).squeeze(2);
  }
}
