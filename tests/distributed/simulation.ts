/**
 * A GPT on device "meta", and what ranks of a large world do with it:
 *
 *     node tests/dist/distributed/simulation.js            1.3 B parameters, 1024 ranks
 */
import { crossEntropyLoss, empty, gelu, nn, optim, type Tensor } from "@nbit/torch";
import { planShards, simulateRanks, type SimulatedRank, type SimulatedStep } from "@nbit/torch/distributed";

const META = { device: "meta" } as const;
export interface Shape {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly length: number;
}
export const GPT_1B: Shape = { layers: 24, width: 2048, heads: 16, vocabulary: 50304, length: 1024 };
const parameter = (...shape: number[]): nn.Parameter => new nn.Parameter(empty(shape, META));

/** As nn.LayerNorm, of operators that "meta" has. */
class Norm extends nn.Module {
  readonly weight: nn.Parameter;
  readonly bias: nn.Parameter;
  constructor(width: number) {
    super();
    this.weight = parameter(width);
    this.bias = parameter(width);
  }
  forward(x: Tensor): Tensor {
    const centred = x.sub(x.mean([-1], true));
    return centred
      .mul(centred.square().mean([-1], true).add(1e-5).rsqrt())
      .mul(this.weight)
      .add(this.bias);
  }
}
class Block extends nn.Module {
  readonly norm1: Norm;
  readonly qkv: nn.Linear;
  readonly out: nn.Linear;
  readonly norm2: Norm;
  readonly up: nn.Linear;
  readonly down: nn.Linear;
  constructor(readonly shape: Shape) {
    super();
    const { width } = shape;
    [this.norm1, this.norm2] = [new Norm(width), new Norm(width)];
    this.qkv = new nn.Linear(width, 3 * width, META);
    this.out = new nn.Linear(width, width, META);
    this.up = new nn.Linear(width, 4 * width, META);
    this.down = new nn.Linear(4 * width, width, META);
  }
  forward(x: Tensor): Tensor {
    const { width, heads, length } = this.shape;
    const parts = this.qkv.forward(this.norm1.forward(x)).chunk(3, -1);
    const [q, k, v] = parts.map((t) => t.reshape([-1, length, heads, width / heads]).transpose(1, 2));
    if (q === undefined || k === undefined || v === undefined) throw new Error("three parts");
    const weights = q.matmul(k.transpose(-2, -1)).softmax(-1);
    const h = x.add(this.out.forward(weights.matmul(v).transpose(1, 2).reshape([-1, length, width])));
    return h.add(this.down.forward(gelu(this.up.forward(this.norm2.forward(h)))));
  }
}
/** Tokens come as rows of ones and zeros, since "meta" has no lookup. */
export class Gpt extends nn.Module {
  readonly tokens: nn.Parameter;
  readonly positions: nn.Parameter;
  readonly blocks: nn.ModuleList<Block>;
  readonly norm: Norm;
  constructor(readonly shape: Shape) {
    super();
    this.tokens = parameter(shape.vocabulary, shape.width);
    this.positions = parameter(shape.length, shape.width);
    this.blocks = new nn.ModuleList(Array.from({ length: shape.layers }, () => new Block(shape)));
    this.norm = new Norm(shape.width);
  }
  forward(x: Tensor): Tensor {
    let h = x.matmul(this.tokens).add(this.positions);
    for (const block of this.blocks) h = block.call(h) as Tensor;
    return this.norm.forward(h).matmul(this.tokens.t());
  }
}

export function gptStep(shape: Shape): SimulatedStep {
  const module = new Gpt(shape);
  const { length, vocabulary } = shape;
  return {
    module,
    optimizer: new optim.AdamW(module.parameters()),
    loss: () => {
      const logits = module.call(empty([1, length, vocabulary], META)) as Tensor;
      return crossEntropyLoss(logits.view([length, vocabulary]), empty([length], { ...META, dtype: "int64" }));
    },
  };
}

const GIB = 2 ** 30;
const gib = (bytes: number): string => (bytes / GIB).toFixed(3);
function row(strategy: string, r: SimulatedRank): string {
  const calls = r.collectives.map((c) => `${c.count} ${c.kind} ${c.dtype}, ${gib(c.bytes)} GiB`).join("; ");
  return `| ${strategy} | ${r.rank} | ${calls} | ${gib(r.parameters)} | ${gib(r.gradients)} | ${gib(r.optimizerState)} |`;
}

if (process.argv[1]?.endsWith("simulation.js") === true) {
  const began = performance.now();
  const worldSize = 1024;
  const count = new Gpt(GPT_1B).parameters().reduce((n, p) => n + p.numel(), 0);
  console.log(`# ${worldSize} ranks, simulated\n`);
  console.log(
    `\`node tests/dist/distributed/simulation.js\`: a GPT of ${(count / 1e9).toFixed(2)} B float32 parameters, AdamW, one step of a sequence of ${GPT_1B.length} tokens per rank, on tensors without memory.\n`,
  );
  console.log("| strategy | rank | collectives of a step | parameters, GiB | gradients | optimizer state |");
  console.log("|---|---|---|---|---|---|");
  for (const r of await simulateRanks(() => gptStep(GPT_1B), { worldSize, strategy: "ddp" }))
    console.log(row("ddp", r));
  for (const stage of [1, 2, 3] as const)
    for (const r of await simulateRanks(() => gptStep(GPT_1B), { worldSize, stage }))
      console.log(row(`fsdp, stage ${stage}`, r));
  const plan = planShards(new Gpt(GPT_1B), worldSize, { stage: 3 });
  const elements = plan.ranks.map((r) => r.elements);
  console.log(
    `\nStage 3, all ${plan.ranks.length} ranks planned: ${elements.reduce((a, b) => a + b, 0)} elements of ${plan.elements}, from ${Math.min(...elements)} to ${Math.max(...elements)} on a rank; at most ${gib(plan.gathered)} GiB of parameters gathered at once.`,
  );
  console.log(
    `\n${Math.round((performance.now() - began) / 100) / 10} seconds, peak ${gib(process.resourceUsage().maxRSS * 1024)} GiB of memory.`,
  );
}
