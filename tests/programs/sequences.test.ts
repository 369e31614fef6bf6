/** What programs of docs/programs.md that are no examples do at their core: those over sequences. They learn, small. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@nbit/torch";
import { manualSeed, nn, optim, tensor, type Tensor } from "@nbit/torch";
import { falls } from "./learns.js";

test("12, language translation: nn.Transformer over padded sentences, masks of both kinds, label smoothing aside", () => {
  manualSeed(0);
  const [PAD, BOS, EOS] = [1, 2, 3];
  class PositionalEncoding extends nn.Module {
    declare posEmbedding: Tensor;
    readonly dropout = new nn.Dropout(0);
    constructor(size: number, maxlen = 16) {
      super();
      const den = torch.exp(torch.arange(0, size, 2).mul(-Math.log(10000) / size));
      const pos = torch.arange(0, maxlen).reshape([maxlen, 1]);
      this.registerBuffer(
        "posEmbedding",
        torch
          .stack([pos.mul(den).sin(), pos.mul(den).cos()], -1)
          .reshape([maxlen, size])
          .unsqueeze(-2),
      );
    }
    forward(x: Tensor): Tensor {
      return this.dropout.forward(x.add(this.posEmbedding.narrow(0, 0, x.size(0))));
    }
  }
  class Seq2SeqTransformer extends nn.Module {
    readonly transformer = new nn.Transformer({
      dModel: 16,
      nhead: 2,
      numEncoderLayers: 1,
      numDecoderLayers: 1,
      dimFeedforward: 32,
      dropout: 0,
    });
    readonly generator = new nn.Linear(16, 12);
    readonly srcTokEmb = new nn.Embedding(12, 16);
    readonly tgtTokEmb = new nn.Embedding(12, 16);
    readonly positionalEncoding = new PositionalEncoding(16);
    forward(src: Tensor, trg: Tensor, tgtMask: Tensor, srcPad: Tensor, tgtPad: Tensor): Tensor {
      const embed = (table: nn.Embedding, t: Tensor): Tensor =>
        this.positionalEncoding.forward(table.forward(t).mul(4));
      const outs = this.transformer.forward(embed(this.srcTokEmb, src), embed(this.tgtTokEmb, trg), {
        tgtMask,
        srcKeyPaddingMask: srcPad,
        tgtKeyPaddingMask: tgtPad,
        memoryKeyPaddingMask: srcPad,
      });
      return this.generator.forward(outs);
    }
  }
  const sentences = [
    [4, 5, 6],
    [7, 8],
    [9, 10, 11, 4],
  ];
  const pad = (lists: readonly (readonly number[])[]): Tensor =>
    nn.utils.rnn.padSequence(
      lists.map((list) => tensor([BOS, ...list, EOS], { dtype: "int64" })),
      { paddingValue: PAD },
    );
  const [src, tgt] = [pad(sentences), pad(sentences.map((s) => [...s].reverse()))];
  const model = new Seq2SeqTransformer();
  for (const p of model.parameters()) if (p.dim() > 1) nn.init.xavierUniform_(p);
  const lossFn = new nn.CrossEntropyLoss({ ignoreIndex: PAD });
  const optimizer = new optim.Adam(model.parameters(), { lr: 5e-3, betas: [0.9, 0.98], eps: 1e-9 });
  const n = tgt.size(0) - 1;
  const input = tgt.narrow(0, 0, n);
  const mask = nn.Transformer.generateSquareSubsequentMask(n);
  falls(60, 0.2, () => {
    const logits = model.forward(src, input, mask, src.eq(PAD).T, input.eq(PAD).T);
    optimizer.zeroGrad();
    const loss = lossFn.forward(logits.reshape([-1, 12]), tgt.narrow(0, 1, n).reshape(-1));
    loss.backward();
    optimizer.step();
    return loss;
  });
});

test("20, minGPT: blocks of causal attention, weights in groups with and without decay, a sampled continuation", () => {
  manualSeed(1);
  const [size, heads, block, vocabulary] = [16, 2, 6, 5];
  class CausalSelfAttention extends nn.Module {
    readonly cAttn = new nn.Linear(size, 3 * size);
    readonly cProj = new nn.Linear(size, size);
    constructor() {
      super();
      this.registerBuffer("bias", torch.tril(torch.ones([block, block])).view([1, 1, block, block]));
    }
    forward(x: Tensor): Tensor {
      const [b, t] = [x.size(0), x.size(1)];
      const [q, k, v] = this.cAttn
        .forward(x)
        .split(size, 2)
        .map((part) => part.view([b, t, heads, size / heads]).transpose(1, 2)) as [Tensor, Tensor, Tensor];
      const mask = this.getBuffer("bias").narrow(2, 0, t).narrow(3, 0, t);
      const att = q
        .matmul(k.transpose(-2, -1))
        .mul(1 / Math.sqrt(size / heads))
        .maskedFill(mask.eq(0), -Infinity);
      return this.cProj.forward(
        nn.functional.softmax(att, -1).matmul(v).transpose(1, 2).contiguous().view([b, t, size]),
      );
    }
  }
  class Block extends nn.Module {
    readonly ln1 = new nn.LayerNorm(size);
    readonly attn = new CausalSelfAttention();
    readonly ln2 = new nn.LayerNorm(size);
    readonly mlp = new nn.Sequential(new nn.Linear(size, 4 * size), new nn.GELU("tanh"), new nn.Linear(4 * size, size));
    forward(x: Tensor): Tensor {
      const h = x.add(this.attn.forward(this.ln1.forward(x)));
      return h.add(this.mlp.forward(this.ln2.forward(h)) as Tensor);
    }
  }
  class GPT extends nn.Module {
    readonly transformer = new nn.ModuleDict({
      wte: new nn.Embedding(vocabulary, size),
      wpe: new nn.Embedding(block, size),
      h: new nn.ModuleList([new Block(), new Block()]),
      lnF: new nn.LayerNorm(size),
    });
    readonly lmHead = new nn.Linear(size, vocabulary, { bias: false });
    forward(idx: Tensor): Tensor {
      const part = (name: string): { forward(x: Tensor): Tensor } => this.transformer.get(name) as never;
      const pos = torch.arange(0, idx.size(1), { dtype: "int64" }).unsqueeze(0);
      let x = part("wte").forward(idx).add(part("wpe").forward(pos));
      for (const each of this.transformer.get("h") as unknown as Iterable<Block>) x = each.forward(x);
      return this.lmHead.forward(part("lnF").forward(x));
    }
  }
  const model = new GPT();
  model.apply((m) => {
    if (m instanceof nn.Linear || m instanceof nn.Embedding) nn.init.normal_(m.weight, 0, 0.02);
  });
  const decays = (name: string): boolean => name.endsWith("weight") && !/ln|wte|wpe/.test(name);
  const named = [...model.namedParameters()];
  const optimizer = new optim.AdamW(
    [
      { params: named.filter(([name]) => decays(name)).map(([, p]) => p), weightDecay: 0.1 },
      { params: named.filter(([name]) => !decays(name)).map(([, p]) => p), weightDecay: 0 },
    ],
    { lr: 1e-2, betas: [0.9, 0.95] },
  );
  // Its demonstration: sort three numbers.
  const x = torch.randint(0, 3, [32, 3]);
  const whole = torch.cat([x, x.sort(1)[0]], 1);
  const [inputs, targets] = [whole.narrow(1, 0, 5), whole.narrow(1, 1, 5).clone()];
  targets.narrow(1, 0, 2).fill_(-1);
  falls(60, 0.3, () => {
    const loss = nn.functional.crossEntropy(model.forward(inputs).view([-1, vocabulary]), targets.reshape(-1), {
      ignoreIndex: -1,
    });
    model.zeroGrad({ setToNone: true });
    loss.backward();
    nn.utils.clipGradNorm_(model.parameters(), 1);
    optimizer.step();
    return loss;
  });
  const said = torch.noGrad(() => {
    let idx = x.narrow(0, 0, 1);
    for (let i = 0; i < 3; i++) {
      const logits = model.forward(idx).select(1, -1);
      const [v] = torch.topk(logits, 2);
      const probs = nn.functional.softmax(logits.maskedFill(logits.lt(v.narrow(1, 1, 1)), -Infinity), -1);
      idx = torch.cat([idx, torch.multinomial(probs, 1)], 1);
    }
    return idx;
  });
  assert.deepEqual(said.shape, [1, 6]);
});

test("34, char-RNN: GRU and LSTM over characters, a state that goes on, a warm-up and a sampled text", () => {
  manualSeed(2);
  const all = "abcdefgh ";
  const text = "abc def gh abc def gh ";
  const charTensor = (s: string): Tensor =>
    tensor(
      [...s].map((c) => all.indexOf(c)),
      { dtype: "int64" },
    );
  class CharRNN extends nn.Module {
    readonly encoder = new nn.Embedding(all.length, 16);
    readonly rnn: nn.Module & { forward(x: Tensor, state: never): unknown };
    readonly decoder = new nn.Linear(16, all.length);
    constructor(readonly model: "gru" | "lstm") {
      super();
      this.rnn = model === "gru" ? new nn.GRU(16, 16, 1) : new nn.LSTM(16, 16, 1);
    }
    forward(input: Tensor, hidden: never): [Tensor, never] {
      const [output, next] = this.rnn.forward(
        this.encoder.forward(input).view([1, input.size(0), -1]),
        hidden,
      ) as readonly [Tensor, unknown];
      return [this.decoder.forward(output.view([input.size(0), -1])), next as never];
    }
    initHidden(batch: number): never {
      const zero = (): Tensor => torch.zeros([1, batch, 16]);
      return (this.model === "lstm" ? [zero(), zero()] : zero()) as never;
    }
  }
  for (const kind of ["gru", "lstm"] as const) {
    const decoder = new CharRNN(kind);
    const optimizer = new optim.Adam(decoder.parameters(), { lr: 0.02 });
    const criterion = new nn.CrossEntropyLoss();
    falls(30, 0.3, () => {
      let hidden = decoder.initHidden(1);
      decoder.zeroGrad();
      let loss: Tensor = tensor(0, { dtype: "float32" });
      for (let c = 0; c < 12; c++) {
        const [output, next] = decoder.forward(charTensor(text[c] ?? ""), hidden);
        hidden = next;
        loss = loss.add(criterion.forward(output, charTensor(text[c + 1] ?? "")));
      }
      loss.backward();
      optimizer.step();
      return loss;
    });
    const [output] = decoder.forward(charTensor("a"), decoder.initHidden(1));
    const top = torch.multinomial(output.detach().view(-1).div(0.8).exp(), 1).item();
    assert.ok(top >= 0 && top < all.length);
  }
});
