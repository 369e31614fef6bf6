/** What is compiled for TPUs: models of the CPU's and the GPU's benchmarks, as modules that a Trainer trains. */
import { LightningModule } from "@nbit/lightning";
import { optim, randint, type nn, type Tensor } from "@nbit/torch";
import { build, type ModelSpec } from "../cpu/models/index.js";
import { Gpt, GPT2 } from "../gpu/models.js";

export interface Work {
  readonly id: string;
  readonly name: string;
  readonly optimizer: "AdamW" | "SGD";
  /** For JAX's program of the same; null: it has none. */
  readonly spec: ModelSpec | null;
  make(): { readonly module: Compiled; readonly batch: readonly [Tensor, Tensor] };
}

export class Compiled extends LightningModule {
  readonly net: nn.Module;
  readonly #loss: (x: Tensor, y: Tensor) => Tensor;
  readonly #optimizer: Work["optimizer"];

  constructor(net: nn.Module, optimizer: Work["optimizer"], loss: (x: Tensor, y: Tensor) => Tensor) {
    super();
    this.net = net;
    this.#optimizer = optimizer;
    this.#loss = loss;
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    return this.#loss(x, y);
  }
  override configureOptimizers(): optim.Optimizer {
    return this.#optimizer === "SGD"
      ? new optim.SGD(this.parameters(), { lr: 0.01, momentum: 0.9, fused: true })
      : new optim.AdamW(this.parameters(), { lr: 1e-3, fused: true });
  }
}

function ofSpec(id: string, name: string, optimizer: Work["optimizer"], spec: ModelSpec): Work {
  return {
    id,
    name,
    optimizer,
    spec,
    make() {
      const { net, x, y, loss } = build(spec);
      return { module: new Compiled(net, optimizer, (a, b) => loss(net.forward(a), b)), batch: [x, y] };
    },
  };
}

export const SMALL: readonly Work[] = [
  ofSpec("mlp", "MLP (64 × 32→128→128→10), AdamW", "AdamW", {
    model: "mlp",
    batch: 64,
    sizes: [32, 128, 128, 10],
    loss: "crossEntropy",
  }),
  ofSpec("cnn", "CNN with BatchNorm (64 × 1×28×28), SGD with momentum", "SGD", { model: "cnn", batch: 64 }),
  ofSpec("gpt", "GPT, 2 layers of width 128 (16 × 64 tokens), AdamW", "AdamW", {
    model: "transformer",
    batch: 16,
    context: 64,
    vocabulary: 100,
    width: 128,
    heads: 4,
    layers: 2,
  }),
];

/** One sequence for each chip: one step of it runs on the host, too. */
export function gpt2(batch: number): Work {
  const config = { ...GPT2, batch };
  return {
    id: "gpt2",
    name: `GPT-2, 124 million parameters (${batch} × ${config.context} tokens), AdamW`,
    optimizer: "AdamW",
    spec: null,
    make() {
      const net = new Gpt(config);
      const tokens = (): Tensor => randint(0, config.vocabulary, [batch, config.context]);
      return { module: new Compiled(net, "AdamW", (x, y) => net.loss(x, y)), batch: [tokens(), tokens()] };
    },
  };
}
