/** The models that the GPU benchmark trains, here and in baseline.py: the same layers, drawn in the same order. */
import { embedding, maxPool2d, nn, scaledDotProductAttention, scope, type Tensor } from "@nbit/torch";

export interface GptConfig {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly context: number;
  readonly vocabulary: number;
  readonly batch: number;
}
export const TINY: GptConfig = { layers: 2, width: 64, heads: 2, context: 32, vocabulary: 256, batch: 4 };
export const GPT2: GptConfig = { layers: 12, width: 768, heads: 12, context: 1024, vocabulary: 50304, batch: 8 };
export const GPT2_LONG: GptConfig = { ...GPT2, context: 32768, batch: 1 };
export const GPT2_MEDIUM: GptConfig = { ...GPT2, layers: 24, width: 1024, heads: 16 };

/** What a GPT does otherwise than by default, to be measured beside it. */
export interface GptVariant {
  /** Norms' and GELUs' results are made again in backward. */
  readonly recompute?: boolean;
  /** The residual stream in the dtype of the matrix products, not in float32. */
  readonly narrowStream?: boolean;
}

export interface BlockConfig {
  readonly width: number;
  readonly heads: number;
  /** Whether a position sees those before it alone. */
  readonly causal: boolean;
  /** See {@link GptVariant}. Default false. */
  readonly recompute?: boolean;
}
/** Attention and two layers, each behind a norm. */
export class Block extends nn.Module {
  readonly ln1: nn.LayerNorm;
  readonly attn: nn.Linear;
  readonly proj: nn.Linear;
  readonly ln2: nn.LayerNorm;
  readonly fc: nn.Linear;
  readonly out: nn.Linear;
  constructor(readonly config: BlockConfig) {
    super();
    const d = config.width;
    this.ln1 = new nn.LayerNorm(d);
    this.attn = new nn.Linear(d, 3 * d);
    this.proj = new nn.Linear(d, d);
    this.ln2 = new nn.LayerNorm(d);
    this.fc = new nn.Linear(d, 4 * d);
    this.out = new nn.Linear(4 * d, d);
  }
  /**
   * The residual stream and the branch that is still to be added to it: the addition belongs to the next norm, which
   * reads both once.
   */
  forward(x: Tensor, branch: Tensor | null): readonly [Tensor, Tensor] {
    const [b, t, d] = x.shape as readonly [number, number, number];
    const { heads, causal, recompute = false } = this.config;
    // What the next norm has read is let go at once: it is not what backward needs.
    return scope(() => {
      const [x1, n1] = this.ln1.addTo(x, branch, { recompute });
      const [q, k, v] = nn.functional.splitHeads(this.attn.forward(n1), heads);
      const y = scaledDotProductAttention(q, k, v, null, 0, causal).transpose(1, 2).reshape([b, t, d]);
      const [x2, n2] = this.ln2.addTo(x1, this.proj.forward(y), { recompute });
      // The bias of the first product is added with the GELU, which then also sums its gradient.
      const h = nn.functional.biasGelu(nn.functional.linear(n2, this.fc.weight), this.fc.bias, { recompute });
      return [x2, this.out.forward(h)] as const;
    });
  }
}

/** The stream through all blocks and the last norm. */
export function throughBlocks(start: Tensor, blocks: Iterable<Block>, norm: nn.LayerNorm): Tensor {
  let [x, branch]: readonly [Tensor, Tensor | null] = [start, null];
  for (const block of blocks) {
    const before: Tensor | null = branch;
    [x, branch] = block.call(x, branch);
    before?.dispose();
  }
  return norm.addTo(x, branch)[1];
}

/** Normal weights in the order of the modules, biases of zero. */
export function drawWeights(model: nn.Module): void {
  for (const m of model.modules()) {
    if (m instanceof nn.Linear) {
      nn.init.normal_(m.weight, 0, 0.02);
      if (m.bias !== null) nn.init.zeros_(m.bias);
    } else if (m instanceof nn.Embedding) {
      nn.init.normal_(m.weight, 0, 0.02);
    }
  }
}

/** GPT-2: learned positions, pre-norm blocks, the embedding is the output layer too. */
export class Gpt extends nn.Module {
  readonly wte: nn.Embedding;
  readonly wpe: nn.Embedding;
  readonly blocks: nn.ModuleList<Block>;
  readonly lnf: nn.LayerNorm;
  constructor(
    readonly config: GptConfig,
    readonly variant: GptVariant = {},
  ) {
    super();
    this.wte = new nn.Embedding(config.vocabulary, config.width);
    this.wpe = new nn.Embedding(config.context, config.width);
    const { layers, width, heads } = config;
    this.blocks = new nn.ModuleList(
      Array.from(
        { length: layers },
        () => new Block({ width, heads, causal: true, recompute: variant.recompute ?? false }),
      ),
    );
    this.lnf = new nn.LayerNorm(width);
    drawWeights(this);
  }
  /** `[B, T]` int64 → the mean cross entropy of the next tokens. */
  loss(tokens: Tensor, targets: Tensor): Tensor {
    const t = this.config.context;
    let x = scope(() => embedding(this.wte.weight, tokens).add(this.wpe.weight.slice(0, 0, t)));
    if (this.variant.narrowStream === true) x = x.to("bfloat16");
    const rows = throughBlocks(x, this.blocks, this.lnf).view([-1, this.config.width]);
    return nn.functional.fusedLinearCrossEntropy(rows, this.wte.weight, targets.view([-1]));
  }
  forward(tokens: Tensor): Tensor {
    return this.wte.forward(tokens);
  }
}

type Path = "auto" | "reference";

/** A convolution and its normalisation: the other branch where the shape changes. */
class Shortcut extends nn.Module {
  readonly conv: nn.Conv2d;
  readonly bn: nn.BatchNorm2d;
  constructor(
    inChannels: number,
    channels: number,
    stride: number,
    readonly path: Path,
  ) {
    super();
    this.conv = new nn.Conv2d(inChannels, channels, 1, { stride, bias: false });
    this.bn = new nn.BatchNorm2d(channels);
  }
  forward(x: Tensor): Tensor {
    return this.bn.thenRelu(this.conv.forward(x), null, { relu: false, path: this.path });
  }
}

class Bottleneck extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.BatchNorm2d;
  readonly conv2: nn.Conv2d;
  readonly bn2: nn.BatchNorm2d;
  readonly conv3: nn.Conv2d;
  readonly bn3: nn.BatchNorm2d;
  readonly down: Shortcut | null;
  constructor(
    inChannels: number,
    width: number,
    stride: number,
    readonly path: Path,
  ) {
    super();
    const out = width * 4;
    this.conv1 = new nn.Conv2d(inChannels, width, 1, { bias: false });
    this.bn1 = new nn.BatchNorm2d(width);
    this.conv2 = new nn.Conv2d(width, width, 3, { stride, padding: 1, bias: false });
    this.bn2 = new nn.BatchNorm2d(width);
    this.conv3 = new nn.Conv2d(width, out, 1, { bias: false });
    this.bn3 = new nn.BatchNorm2d(out);
    this.down = stride !== 1 || inChannels !== out ? new Shortcut(inChannels, out, stride, path) : null;
  }
  /** Its input and its output are what goes into a block and what goes around it: the same, twice. */
  forward(inner: Tensor, around: Tensor): readonly [Tensor, Tensor] {
    const { path } = this;
    let y = this.bn1.thenRelu(this.conv1.forward(inner), null, { path });
    y = this.bn2.thenRelu(this.conv2.forward(y), null, { path });
    const residual = this.down === null ? around : this.down.call(around);
    return this.bn3.thenReluForBranches(this.conv3.forward(y), residual, { path });
  }
}

/** ResNet-50, He et al., 2015, with the stride in the 3×3 convolution. */
export class ResNet50 extends nn.Module {
  readonly conv = new nn.Conv2d(3, 64, 7, { stride: 2, padding: 3, bias: false });
  readonly bn = new nn.BatchNorm2d(64);
  readonly layers: nn.ModuleList<Bottleneck>;
  readonly fc: nn.Linear;
  /** `path`: "reference" for PyTorch's operators alone. */
  constructor(readonly path: Path = "auto") {
    super();
    const blocks: Bottleneck[] = [];
    let channels = 64;
    for (const [i, n] of [3, 4, 6, 3].entries())
      for (let j = 0; j < n; j++) {
        blocks.push(new Bottleneck(channels, 64 << i, j === 0 && i > 0 ? 2 : 1, path));
        channels = 256 << i;
      }
    this.layers = new nn.ModuleList(blocks);
    this.fc = new nn.Linear(2048, 1000);
  }
  forward(images: Tensor): Tensor {
    // The largest activations of the network: what backward does not need of them is freed at once.
    const x = scope(() =>
      maxPool2d(this.bn.thenRelu(this.conv.forward(images), null, { path: this.path }), [3, 3], [2, 2], [1, 1]),
    );
    let branches: readonly [Tensor, Tensor] = [x, x];
    for (const block of this.layers) branches = block.call(...branches);
    return this.fc.forward(branches[0].mean([2, 3]));
  }
}
