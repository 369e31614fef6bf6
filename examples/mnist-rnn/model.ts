/** Digits read row by row by a recurrent network, as in PyTorch's examples. */
import { nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

const F = nn.functional;

export class Net extends nn.Module {
  rnn = new nn.LSTM({ inputSize: 28, hiddenSize: 64, batchFirst: true });
  batchnorm = new nn.BatchNorm1d(64);
  dropout1 = new nn.Dropout(0.25);
  dropout2 = new nn.Dropout(0.5);
  fc1 = new nn.Linear(64, 32);
  fc2 = new nn.Linear(32, 10);

  /** Logarithms of probabilities `[N, 10]` for images `[N, 1, 28, 28]`. */
  override forward(input: Tensor): Tensor {
    // [N, 28, 28]: the rows are the steps of a sequence.
    const [sequence] = this.rnn.call(input.reshape(-1, 28, 28));
    let output = this.batchnorm.call(sequence.at(":", -1));
    output = this.dropout1.call(output);
    output = this.fc1.call(output);
    output = F.relu(output);
    output = this.dropout2.call(output);
    output = this.fc2.call(output);
    return F.logSoftmax(output, 1);
  }
}
