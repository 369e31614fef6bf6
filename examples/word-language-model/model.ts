/** Models of which word comes next: recurrent, and a transformer's encoder. */
import { arange, nn, zeros } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

const F = nn.functional;

export type RNNType = "LSTM" | "GRU" | "RNN_TANH" | "RNN_RELU";
/** An LSTM's is a pair. */
export type State = Tensor | nn.LSTMState;

/** An embedding, a recurrent network and a decoder whose weights may be those of the embedding. */
export class RNNModel extends nn.Module {
  drop: nn.Dropout;
  encoder: nn.Embedding;
  rnn: nn.LSTM | nn.GRU | nn.RNN;
  decoder: nn.Linear;
  constructor(
    rnnType: RNNType,
    readonly ntoken: number,
    ninp: number,
    readonly nhid: number,
    readonly nlayers: number,
    dropout = 0.5,
    tieWeights = false,
  ) {
    super();
    this.drop = new nn.Dropout(dropout);
    this.encoder = new nn.Embedding(ntoken, ninp);
    if (rnnType === "LSTM") this.rnn = new nn.LSTM(ninp, nhid, nlayers, { dropout });
    else if (rnnType === "GRU") this.rnn = new nn.GRU(ninp, nhid, nlayers, { dropout });
    else
      this.rnn = new nn.RNN(ninp, nhid, nlayers, { nonlinearity: rnnType === "RNN_TANH" ? "tanh" : "relu", dropout });
    this.decoder = new nn.Linear(nhid, ntoken);
    if (tieWeights) {
      if (nhid !== ninp) throw new Error("With tied weights, nhid must be equal to ninp.");
      this.decoder.weight = this.encoder.weight;
    }
    this.initWeights();
  }

  initWeights(): void {
    const initrange = 0.1;
    nn.init.uniform_(this.encoder.weight, -initrange, initrange);
    if (this.decoder.bias !== null) nn.init.zeros_(this.decoder.bias);
    nn.init.uniform_(this.decoder.weight, -initrange, initrange);
  }

  override forward(input: Tensor, hidden: State): [logProbabilities: Tensor, hidden: State] {
    const emb = this.drop.call(this.encoder.call(input));
    const [output, next] = this.step(emb, hidden);
    const decoded = this.decoder.call(this.drop.call(output)).view(-1, this.ntoken);
    return [F.logSoftmax(decoded.float(), 1), next];
  }

  private step(emb: Tensor, hidden: State): [output: Tensor, hidden: State] {
    if (this.rnn instanceof nn.LSTM) return this.rnn.call(emb, hidden as nn.LSTMState);
    return this.rnn.call(emb, hidden as Tensor);
  }

  initHidden(bsz: number): State {
    const zero = (): Tensor => zeros(this.nlayers, bsz, this.nhid);
    return this.rnn instanceof nn.LSTM ? [zero(), zero()] : zero();
  }
}

/** Where in the sequence each vector stands: sines and cosines of rising wavelengths are added to it. */
class PositionalEncoding extends nn.Module {
  dropout: nn.Dropout;
  declare pe: Tensor;
  constructor(dModel: number, dropout = 0.1, maxLen = 5000) {
    super();
    this.dropout = new nn.Dropout(dropout);
    const position = arange(0, maxLen).float().unsqueeze(1);
    const divTerm = arange(0, dModel, 2)
      .float()
      .mul(-Math.log(10000) / dModel)
      .exp();
    const pe = zeros(maxLen, dModel);
    pe.setAt([":", "0::2"], position.mul(divTerm).sin());
    pe.setAt([":", "1::2"], position.mul(divTerm).cos());
    this.registerBuffer("pe", pe.unsqueeze(0).transpose(0, 1));
  }
  override forward(x: Tensor): Tensor {
    return this.dropout.call(x.add(this.pe.narrow(0, 0, x.size(0))));
  }
}

/** Attention to the words so far, in layers. */
export class TransformerModel extends nn.Module {
  posEncoder: PositionalEncoding;
  encoder: nn.TransformerEncoder;
  inputEmb: nn.Embedding;
  decoder: nn.Linear;
  constructor(
    readonly ntoken: number,
    readonly ninp: number,
    nhead: number,
    nhid: number,
    nlayers: number,
    dropout = 0.5,
  ) {
    super();
    this.posEncoder = new PositionalEncoding(ninp, dropout);
    const layer = new nn.TransformerEncoderLayer(ninp, nhead, nhid, dropout);
    this.encoder = new nn.TransformerEncoder(layer, nlayers, new nn.LayerNorm(ninp));
    this.inputEmb = new nn.Embedding(ntoken, ninp);
    this.decoder = new nn.Linear(ninp, ntoken);
    this.initWeights();
  }

  initWeights(): void {
    const initrange = 0.1;
    nn.init.uniform_(this.inputEmb.weight, -initrange, initrange);
    if (this.decoder.bias !== null) nn.init.zeros_(this.decoder.bias);
    nn.init.uniform_(this.decoder.weight, -initrange, initrange);
  }

  override forward(input: Tensor): Tensor {
    const mask = nn.Transformer.generateSquareSubsequentMask(input.size(0));
    const src = this.posEncoder.call(this.inputEmb.call(input).mul(Math.sqrt(this.ninp)));
    const output = this.decoder.call(this.encoder.call(src, mask));
    return F.logSoftmax(output.view(-1, this.ntoken).float(), 1);
  }
}
