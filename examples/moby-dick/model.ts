import { LightningModule } from "@nbit/lightning";
import { multinomial, nn, noGrad, scope, tensor } from "@nbit/torch";
import type { optim, Tensor } from "@nbit/torch";

class Block extends nn.Module {
  readonly norm1: nn.LayerNorm;
  readonly qkv: nn.Linear;
  readonly out: nn.Linear;
  readonly norm2: nn.LayerNorm;
  readonly up: nn.Linear;
  readonly down: nn.Linear;
  constructor(
    readonly width: number,
    readonly heads: number,
  ) {
    super();
    this.norm1 = new nn.LayerNorm(width);
    this.qkv = new nn.Linear(width, 3 * width);
    this.out = new nn.Linear(width, width);
    this.norm2 = new nn.LayerNorm(width);
    this.up = new nn.Linear(width, 4 * width);
    this.down = new nn.Linear(4 * width, width);
  }
  override forward(x: Tensor): Tensor {
    const [b = 0, t = 0] = x.shape;
    const parts = this.qkv
      .forward(this.norm1.forward(x))
      .chunk(3, -1)
      .map((p) => p.view([b, t, this.heads, this.width / this.heads]).transpose(1, 2));
    const [q, k, v] = parts as [Tensor, Tensor, Tensor];
    const mixed = nn.functional
      .scaledDotProductAttention(q, k, v, { isCausal: true })
      .transpose(1, 2)
      .reshape([b, t, this.width]);
    const y = x.add(this.out.forward(mixed));
    return y.add(this.down.forward(nn.functional.gelu(this.up.forward(this.norm2.forward(y)))));
  }
}

/** A small GPT over characters. Its optimizer is given from outside, so that two can be compared. */
export class CharGpt extends LightningModule {
  readonly characters: nn.Embedding;
  readonly positions: nn.Embedding;
  readonly blocks: nn.Sequential;
  readonly norm: nn.LayerNorm;
  readonly head: nn.Linear;
  readonly losses: number[] = [];
  constructor(
    readonly alphabet: string,
    readonly context: number,
    width: number,
    layers: number,
    readonly optimizer: (parameters: Iterable<Tensor>) => optim.Optimizer,
  ) {
    super();
    this.characters = new nn.Embedding(alphabet.length, width);
    this.positions = new nn.Embedding(context, width);
    this.blocks = new nn.Sequential(...Array.from({ length: layers }, () => new Block(width, 4)));
    this.norm = new nn.LayerNorm(width);
    this.head = new nn.Linear(width, alphabet.length);
  }
  override forward(x: Tensor): Tensor {
    const at = this.positions.weight.narrow(0, 0, x.shape[1] ?? 0);
    return this.head.forward(this.norm.forward(this.blocks.forward(this.characters.forward(x).add(at))));
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const loss = nn.functional.crossEntropy(this.forward(x).view([-1, this.alphabet.length]), y.view([-1]));
    this.losses.push(loss.item());
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return this.optimizer(this.parameters());
  }

  /** Text that goes on from a start, character by character. */
  sample(start: string, length: number): string {
    const codes = [...start].map((c) => Math.max(0, this.alphabet.indexOf(c)));
    noGrad(() => {
      for (let i = 0; i < length; i++) {
        codes.push(
          scope(() => {
            const logits = this.forward(tensor(codes.slice(-this.context)).long().unsqueeze(0))
              .select(1, -1)
              .div(0.8);
            return multinomial(logits.softmax(-1), 1).item();
          }),
        );
      }
    });
    return codes.map((c) => this.alphabet[c]).join("");
  }
}
