/** Layers of LSTM by libtorch's operator, and a linear layer after the last step. */
import { empty, lstm, nn, zeros, type Tensor } from "@nbit/torch";

/** Gates in the order i, f, g, o. */
class Layer extends nn.Module {
  readonly weightIh: nn.Parameter;
  readonly weightHh: nn.Parameter;
  readonly biasIh: nn.Parameter;
  readonly biasHh: nn.Parameter;
  constructor(inputs: number, hidden: number) {
    super();
    const bound = 1 / Math.sqrt(hidden);
    const draw = (...shape: number[]): nn.Parameter => {
      const p = new nn.Parameter(empty(shape));
      nn.init.uniform_(p, -bound, bound);
      return p;
    };
    this.weightIh = draw(4 * hidden, inputs);
    this.weightHh = draw(4 * hidden, hidden);
    this.biasIh = draw(4 * hidden);
    this.biasHh = draw(4 * hidden);
  }
  /** In the operator's order. */
  forward(): readonly nn.Parameter[] {
    return [this.weightIh, this.weightHh, this.biasIh, this.biasHh];
  }
}

export class Lstm extends nn.Module {
  readonly layers: nn.ModuleList<Layer>;
  readonly head: nn.Linear;
  constructor(
    inputs: number,
    readonly hidden: number,
    layers: number,
  ) {
    super();
    this.layers = new nn.ModuleList(
      Array.from({ length: layers }, (_, i) => new Layer(i === 0 ? inputs : hidden, hidden)),
    );
    this.head = new nn.Linear(hidden, 10);
  }
  forward(x: Tensor): Tensor {
    const weights = [...this.layers].flatMap((layer) => layer.forward());
    const initial = zeros([this.layers.length, x.shape[0] as number, this.hidden]);
    const [out] = lstm(x, [initial, initial], weights, true, this.layers.length, 0, this.training, false, true);
    return this.head.forward(out.select(1, -1));
  }
}
