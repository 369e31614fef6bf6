/** An encoder and a decoder that attends to what was encoded, both gated recurrent units. */
import { bmm, cat, nn, tanh, zeros } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { MAX_LENGTH } from "./data.js";

const F = nn.functional;

export class EncoderRNN extends nn.Module {
  embedding: nn.Embedding;
  gru: nn.GRU;
  dropout: nn.Dropout;
  constructor(inputSize: number, hiddenSize: number, dropoutP = 0.1) {
    super();
    this.embedding = new nn.Embedding(inputSize, hiddenSize);
    this.gru = new nn.GRU(hiddenSize, hiddenSize, { batchFirst: true });
    this.dropout = new nn.Dropout(dropoutP);
  }
  override forward(input: Tensor): [output: Tensor, hidden: Tensor] {
    const embedded = this.dropout.call(this.embedding.call(input));
    return this.gru.call(embedded);
  }
}

/** Bahdanau, Cho and Bengio, 2014: which of the encoder's words matter for the next one. */
export class BahdanauAttention extends nn.Module {
  Wa: nn.Linear;
  Ua: nn.Linear;
  Va: nn.Linear;
  constructor(hiddenSize: number) {
    super();
    this.Wa = new nn.Linear(hiddenSize, hiddenSize);
    this.Ua = new nn.Linear(hiddenSize, hiddenSize);
    this.Va = new nn.Linear(hiddenSize, 1);
  }
  override forward(query: Tensor, keys: Tensor): [context: Tensor, weights: Tensor] {
    const scores = this.Va.call(tanh(this.Wa.call(query).add(this.Ua.call(keys))));
    const weights = F.softmax(scores.squeeze(2).unsqueeze(1), -1);
    return [bmm(weights, keys), weights];
  }
}

export class AttnDecoderRNN extends nn.Module {
  embedding: nn.Embedding;
  attention: BahdanauAttention;
  gru: nn.GRU;
  out: nn.Linear;
  dropout: nn.Dropout;
  constructor(hiddenSize: number, outputSize: number, dropoutP = 0.1) {
    super();
    this.embedding = new nn.Embedding(outputSize, hiddenSize);
    this.attention = new BahdanauAttention(hiddenSize);
    this.gru = new nn.GRU(2 * hiddenSize, hiddenSize, { batchFirst: true });
    this.out = new nn.Linear(hiddenSize, outputSize);
    this.dropout = new nn.Dropout(dropoutP);
  }

  /** With a target, each word follows the right one (teacher forcing); without, the one that was found last. */
  override forward(
    encoderOutputs: Tensor,
    encoderHidden: Tensor,
    targetTensor: Tensor | null = null,
  ): [logProbabilities: Tensor, hidden: Tensor, attentions: Tensor] {
    const batchSize = encoderOutputs.size(0);
    let decoderInput = zeros([batchSize, 1], { dtype: "int64" }); // the start of a sentence
    let decoderHidden = encoderHidden;
    const decoderOutputs: Tensor[] = [];
    const attentions: Tensor[] = [];
    for (let i = 0; i < MAX_LENGTH; i++) {
      const [decoderOutput, hidden, attnWeights] = this.forwardStep(decoderInput, decoderHidden, encoderOutputs);
      decoderHidden = hidden;
      decoderOutputs.push(decoderOutput);
      attentions.push(attnWeights);
      if (targetTensor !== null) decoderInput = targetTensor.select(1, i).unsqueeze(1);
      else decoderInput = decoderOutput.topk(1)[1].squeeze(-1).detach();
    }
    const logits = cat(decoderOutputs, 1).float();
    return [F.logSoftmax(logits, -1), decoderHidden, cat(attentions, 1)];
  }

  forwardStep(
    input: Tensor,
    hidden: Tensor,
    encoderOutputs: Tensor,
  ): [output: Tensor, hidden: Tensor, attnWeights: Tensor] {
    const embedded = this.dropout.call(this.embedding.call(input));
    const query = hidden.permute(1, 0, 2);
    const [context, attnWeights] = this.attention.call(query, encoderOutputs);
    const [output, next] = this.gru.call(cat([embedded, context], 2), hidden);
    return [this.out.call(output), next, attnWeights];
  }
}
