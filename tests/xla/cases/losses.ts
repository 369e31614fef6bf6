import * as torch from "@nbit/torch";
import { nn } from "@nbit/torch";
import { type Case } from "./case.js";

const F = nn.functional;
const float: Partial<Case> = { dtypes: ["float32"] };
const whole = (shape: readonly number[], high: number) => ({ shape, of: "whole", high }) as const;

const L = { x: [6, 5], y: { shape: [6, 5], of: "plain" } } as const;
const reductions = ["none", "mean", "sum"] as const;
export const losses: readonly Case[] = [
  ...reductions.flatMap((reduction): Case[] => [
    { name: `mseLoss, ${reduction}`, inputs: L, run: ({ x, y }) => F.mseLoss(x, y, { reduction }) },
    { name: `l1Loss, ${reduction}`, inputs: L, run: ({ x, y }) => F.l1Loss(x, y, { reduction }) },
    {
      name: `smoothL1Loss, ${reduction}`,
      inputs: L,
      run: ({ x, y }) => [F.smoothL1Loss(x, y, { reduction }), F.smoothL1Loss(x, y, { reduction, beta: 0.3 })],
    },
    {
      name: `binary cross entropy of logits, ${reduction}`,
      inputs: {
        x: [6, 5],
        y: { shape: [6, 5], of: "flags" },
        w: { shape: [5], of: "plain" },
        p: { shape: [5], of: "plain" },
      },
      run: ({ x, y, w, p }) => [
        F.binaryCrossEntropyWithLogits(x, y.to(x.dtype), { reduction }),
        F.binaryCrossEntropyWithLogits(x, y.to(x.dtype), { reduction, weight: w.abs(), posWeight: p.abs() }),
      ],
      within: { bfloat16: 2 ** -6 },
    },
    {
      name: `crossEntropy, ${reduction}`,
      inputs: { x: [6, 5], y: whole([6], 5), w: { shape: [5], of: "plain" } },
      run: ({ x, y, w }) => [
        F.crossEntropy(x, y, { reduction }),
        F.crossEntropy(x, y, { reduction, weight: w.abs(), ignoreIndex: 1 }),
        F.crossEntropy(x, y, { reduction, labelSmoothing: 0.2 }),
      ],
      within: { bfloat16: 2 ** -6 },
    },
  ]),
  ...reductions.flatMap((reduction): Case[] => [
    { name: `huberLoss, ${reduction}`, inputs: L, run: ({ x, y }) => torch.huberLoss(x, y, reduction, 0.7) },
    {
      name: `binaryCrossEntropy, ${reduction}`,
      inputs: { x: { shape: [6, 5], of: "unit" }, y: { shape: [6, 5], of: "flags" } },
      run: ({ x, y }) => torch.binaryCrossEntropy(x, y.to(x.dtype), { reduction }),
      within: { bfloat16: 2 ** -6 },
    },
  ]),
  {
    name: "crossEntropy over planes",
    inputs: { x: [2, 5, 3, 4], y: whole([2, 3, 4], 5) },
    run: ({ x, y }) => [F.crossEntropy(x, y), F.crossEntropy(x, y, { ignoreIndex: 2 })],
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "crossEntropy with probabilities",
    inputs: { x: [6, 5], y: { shape: [6, 5], of: "plain" } },
    run: ({ x, y }) => F.crossEntropy(x, torch.softmax(y, 1)),
    within: { bfloat16: 2 ** -6 },
  },
  { name: "nllLoss of one sample", inputs: { x: [5], y: whole([], 5) }, run: ({ x, y }) => F.nllLoss(x, y), ...float },
  {
    name: "klDiv",
    inputs: { x: [6, 5], y: { shape: [6, 5], of: "plain" } },
    run: ({ x, y }) => [
      torch.klDiv(torch.logSoftmax(x, 1), torch.softmax(y, 1)),
      torch.klDiv(torch.logSoftmax(x, 1), torch.logSoftmax(y, 1), { reduction: "sum", logTarget: true }),
    ],
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "softMarginLoss, cosineEmbeddingLoss",
    inputs: L,
    run: ({ x, y }) => [
      torch.softMarginLoss(x, y.sign()),
      torch.cosineEmbeddingLoss(x, y, torch.ones([6])),
      torch.marginRankingLoss(x, y, y.sign(), 0.1),
    ],
    ...float,
  },
];
