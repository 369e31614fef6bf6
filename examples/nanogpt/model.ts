/** GPT as nanoGPT has it: the names and layouts are those of its checkpoints. */
import { arange, cat, multinomial, nn, noGrad, ones, optim, scope, zeros } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

const F = nn.functional;

export interface GPTConfig {
  readonly blockSize: number;
  readonly vocabSize: number;
  readonly nLayer: number;
  readonly nHead: number;
  readonly nEmbd: number;
  readonly dropout: number;
  /** Whether Linears and LayerNorms have biases, as those of GPT-2 do. */
  readonly bias: boolean;
}

/** With or without a bias. */
class LayerNorm extends nn.Module {
  weight: nn.Parameter;
  bias: nn.Parameter | null;
  constructor(ndim: number, bias: boolean) {
    super();
    this.weight = new nn.Parameter(ones(ndim));
    this.bias = bias ? new nn.Parameter(zeros(ndim)) : null;
  }
  override forward(input: Tensor): Tensor {
    return F.layerNorm(input, this.weight.shape, this.weight, this.bias, 1e-5);
  }
}

class CausalSelfAttention extends nn.Module {
  cAttn: nn.Linear;
  cProj: nn.Linear;
  residDropout: nn.Dropout;
  constructor(readonly config: GPTConfig) {
    super();
    const { nEmbd, bias, dropout } = config;
    this.cAttn = new nn.Linear(nEmbd, 3 * nEmbd, { bias });
    this.cProj = new nn.Linear(nEmbd, nEmbd, { bias });
    this.residDropout = new nn.Dropout(dropout);
  }
  override forward(x: Tensor): Tensor {
    const { nHead, nEmbd, dropout } = this.config;
    const [B, T, C] = [x.size(0), x.size(1), x.size(2)];
    const heads = this.cAttn.call(x).split(nEmbd, 2);
    const [q, k, v] = heads.map((t) => t.view(B, T, nHead, C / nHead).transpose(1, 2)) as [Tensor, Tensor, Tensor];
    const y = F.scaledDotProductAttention(q, k, v, { dropoutP: this.training ? dropout : 0, isCausal: true });
    return this.residDropout.call(this.cProj.call(y.transpose(1, 2).contiguous().view(B, T, C)));
  }
}

class MLP extends nn.Module {
  cFc: nn.Linear;
  gelu: nn.GELU;
  cProj: nn.Linear;
  dropout: nn.Dropout;
  constructor({ nEmbd, bias, dropout }: GPTConfig) {
    super();
    this.cFc = new nn.Linear(nEmbd, 4 * nEmbd, { bias });
    this.gelu = new nn.GELU();
    this.cProj = new nn.Linear(4 * nEmbd, nEmbd, { bias });
    this.dropout = new nn.Dropout(dropout);
  }
  override forward(x: Tensor): Tensor {
    return this.dropout.call(this.cProj.call(this.gelu.call(this.cFc.call(x))));
  }
}

class Block extends nn.Module {
  // Names that end with a number get no underline in camelCase: ln1 would be the key ln1.
  static override readonly stateKeys = { ln1: "ln_1", ln2: "ln_2" };
  ln1: LayerNorm;
  attn: CausalSelfAttention;
  ln2: LayerNorm;
  mlp: MLP;
  constructor(config: GPTConfig) {
    super();
    this.ln1 = new LayerNorm(config.nEmbd, config.bias);
    this.attn = new CausalSelfAttention(config);
    this.ln2 = new LayerNorm(config.nEmbd, config.bias);
    this.mlp = new MLP(config);
  }
  override forward(x: Tensor): Tensor {
    const y = x.add(this.attn.call(this.ln1.call(x)));
    return y.add(this.mlp.call(this.ln2.call(y)));
  }
}

/** What nanoGPT keeps in a ModuleDict. Assigning keeps the type of each. */
const transformerOf = (config: GPTConfig) =>
  Object.assign(new nn.ModuleDict(), {
    wte: new nn.Embedding(config.vocabSize, config.nEmbd),
    wpe: new nn.Embedding(config.blockSize, config.nEmbd),
    drop: new nn.Dropout(config.dropout),
    h: new nn.ModuleList(Array.from({ length: config.nLayer }, () => new Block(config))),
    ln_f: new LayerNorm(config.nEmbd, config.bias),
  });

export class GPT extends nn.Module {
  transformer: ReturnType<typeof transformerOf>;
  lmHead: nn.Linear;
  constructor(readonly config: GPTConfig) {
    super();
    this.transformer = transformerOf(config);
    this.lmHead = new nn.Linear(config.nEmbd, config.vocabSize, { bias: false });
    this.transformer.wte.weight = this.lmHead.weight; // https://paperswithcode.com/method/weight-tying
    this.apply((module) => this.initWeights(module));
    // Projections into the residual stream begin smaller, as GPT-2's do.
    for (const [pn, p] of this.namedParameters())
      if (pn.endsWith("c_proj.weight")) nn.init.normal_(p, { mean: 0, std: 0.02 / Math.sqrt(2 * config.nLayer) });
  }

  /** How many parameters; those of positions are not counted by default. */
  getNumParams(nonEmbedding = true): number {
    const all = this.parameters().reduce((n, p) => n + p.numel(), 0);
    return nonEmbedding ? all - this.transformer.wpe.weight.numel() : all;
  }

  private initWeights(module: nn.Module): void {
    if (module instanceof nn.Linear) {
      nn.init.normal_(module.weight, { mean: 0, std: 0.02 });
      if (module.bias !== null) nn.init.zeros_(module.bias);
    } else if (module instanceof nn.Embedding) {
      nn.init.normal_(module.weight, { mean: 0, std: 0.02 });
    }
  }

  /** The scores of every next word, and their loss; without targets those of the last position alone, without a loss. */
  override forward(idx: Tensor): [logits: Tensor, loss: null];
  override forward(idx: Tensor, targets: Tensor): [logits: Tensor, loss: Tensor];
  override forward(idx: Tensor, targets: Tensor | null = null): [logits: Tensor, loss: Tensor | null] {
    const t = idx.size(1);
    const pos = arange(0, t, { dtype: "int64" });
    const tokEmb = this.transformer.wte.call(idx);
    const posEmb = this.transformer.wpe.call(pos);
    let x = this.transformer.drop.call(tokEmb.add(posEmb));
    for (const block of this.transformer.h) x = block.call(x);
    x = this.transformer.ln_f.call(x);
    if (targets === null) return [this.lmHead.call(x.narrow(1, t - 1, 1)), null];
    const logits = this.lmHead.call(x);
    const loss = F.crossEntropy(logits.view(-1, logits.size(-1)), targets.view(-1), { ignoreIndex: -1 });
    return [logits, loss];
  }

  /** AdamW, whose decay is for matrices and embeddings; biases and normalisations have none. */
  configureOptimizers(weightDecay: number, lr: number, betas: [number, number]): optim.AdamW {
    const params = this.parameters().filter((p) => p.requiresGrad);
    const optimGroups = [
      { params: params.filter((p) => p.dim() >= 2), weightDecay },
      { params: params.filter((p) => p.dim() < 2), weightDecay: 0 },
    ];
    return new optim.AdamW(optimGroups, { lr, betas });
  }

  /** So many words more, drawn one by one from the likeliest `topK`. */
  generate(idx: Tensor, maxNewTokens: number, temperature = 1.0, topK: number | null = null): Tensor {
    return noGrad(() => {
      let all = idx;
      for (let i = 0; i < maxNewTokens; i++) {
        all = scope(() => {
          const from = Math.max(0, all.size(1) - this.config.blockSize);
          const [scores] = this.forward(all.narrow(1, from, all.size(1) - from));
          let logits = scores.select(1, -1).div(temperature);
          if (topK !== null) {
            const [v] = logits.topk(Math.min(topK, logits.size(-1)));
            logits = logits.maskedFill(logits.lt(v.at(":", [-1])), -Infinity);
          }
          return cat([all, multinomial(F.softmax(logits, -1), 1)], 1);
        });
      }
      return all;
    });
  }
}
