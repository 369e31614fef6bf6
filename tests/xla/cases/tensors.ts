import * as torch from "@nbit/torch";
import type { Case } from "./case.js";

const X = { x: [3, 4, 5] };
const float: Partial<Case> = { dtypes: ["float32"] };
const whole = (shape: readonly number[], high: number) => ({ shape, of: "whole", high }) as const;

export const reductions: readonly Case[] = [
  { name: "sum", inputs: X, run: ({ x }) => [x.sum(), x.sum(1), x.sum([0, -1], true), x.sum([0, 1, 2])] },
  { name: "mean", inputs: X, run: ({ x }) => [x.mean(), x.mean([1]), x.mean([-1, 0], true)] },
  { name: "sum in another dtype", inputs: X, run: ({ x }) => [x.sum([1], false, { dtype: "float32" })] },
  {
    name: "sum of whole numbers and flags",
    inputs: { k: whole([3, 4], 5), m: { shape: [3, 4], of: "flags" } },
    run: ({ k, m }) => [k.sum(), k.sum(0), m.sum(1)],
    backward: false,
    ...float,
  },
  {
    name: "prod",
    inputs: { x: { shape: [3, 4], of: "positive" } },
    run: ({ x }) => [x.prod().detach(), torch.prod(x, 1).detach()],
    backward: false,
  },
  { name: "amax, amin", inputs: X, run: ({ x }) => [torch.amax(x, [1]), torch.amin(x, [0, 2], true)] },
  { name: "max, min", inputs: X, run: ({ x }) => [x.max() as torch.Tensor, x.min() as torch.Tensor], backward: false },
  {
    name: "max along",
    inputs: X,
    run: ({ x }) => [
      ...(torch.max(x, 1) as unknown as torch.Tensor[]),
      ...(torch.min(x, -1, true) as unknown as torch.Tensor[]),
    ],
    backward: false,
  },
  {
    name: "aminmax",
    inputs: { x: { shape: [3, 4], of: "plain" } },
    run: ({ x }) => [...x.aminmax(), ...x.aminmax({ dim: 1, keepdim: true })],
    backward: false,
  },
  {
    name: "argmax",
    inputs: { x: { shape: [3, 4, 5], of: "plain" } },
    run: ({ x }) => [x.argmax(), x.argmax(1), x.argmax(-1, true), torch.argmin(x, 0)],
    backward: false,
  },
  {
    name: "argmax of equal numbers",
    inputs: { k: whole([3, 8], 3) },
    run: ({ k }) => [k.argmax(1), torch.argmin(k, 1), k.argmax()],
    backward: false,
    ...float,
  },
  {
    name: "any, all",
    inputs: { m: { shape: [3, 4], of: "flags" }, k: whole([3, 4], 2) },
    run: ({ m, k }) => [torch.any(m), torch.any(m, 1), torch.all(k), torch.all(k, 0, true)],
    backward: false,
    ...float,
  },
  {
    name: "var, std",
    inputs: X,
    run: ({ x }) => [
      torch.var(x, [1]),
      torch.std(x, [0, 2], { correction: 0, keepdim: true }),
      torch.var(x, null, { correction: 1 }),
    ],
  },
  { name: "varMean", inputs: X, run: ({ x }) => torch.varMean(x, [1, 2]) as unknown as torch.Tensor[] },
  ...[1, 2, 3, Infinity].map((p): Case => ({
    name: `norm of order ${p}`,
    inputs: { x: [3, 4] },
    run: ({ x }) => [torch.linalg.vectorNorm(x, p), torch.linalg.vectorNorm(x, p, [1], true)],
    within: { bfloat16: 2 ** -6 },
  })),
  {
    name: "logsumexp",
    inputs: X,
    run: ({ x }) => [torch.logsumexp(x, [1]), torch.logsumexp(x, [0, 2], true)],
    within: { bfloat16: 2 ** -6 },
  },
  { name: "cumsum", inputs: X, run: ({ x }) => [x.cumsum(1), x.cumsum(-1)], within: { bfloat16: 2 ** -6 } },
  {
    name: "sort, topk",
    inputs: { x: { shape: [3, 7], of: "plain" } },
    run: ({ x }) => [
      ...(torch.sort(x, 1) as unknown as torch.Tensor[]),
      ...(torch.sort(x, 0, true) as unknown as torch.Tensor[]),
      ...(torch.topk(x, 3) as unknown as torch.Tensor[]),
    ],
    backward: false,
    ...float,
  },
  { name: "reductions of nothing", inputs: { x: [0, 3] }, run: ({ x }) => [x.sum(), x.sum(0), x.sum(1)] },
  { name: "trace", inputs: { x: [4, 5] }, run: ({ x }) => torch.trace(x), backward: false, ...float },
];

export const shapes: readonly Case[] = [
  {
    name: "views",
    inputs: X,
    run: ({ x }) => [
      x.view([12, 5]).mul(2),
      x.transpose(0, -1).exp(),
      x.permute([2, 0, 1]).add(1),
      x.select(1, -2).neg(),
      x.slice(2, 1, 5, 2).mul(3),
      x.unsqueeze(1).squeeze(1).add(0),
      x.narrow(1, 1, 2).mul(2),
      x.reshape([-1]).mul(2),
    ],
  },
  {
    name: "split, chunk, unbind",
    inputs: { x: [6, 5] },
    run: ({ x }) =>
      [...x.split(4, 0), ...x.chunk(3, 1), ...torch.unbind(x, 0), ...torch.splitWithSizes(x, [1, 2, 3], 0)].map((v) =>
        v.mul(2),
      ),
  },
  {
    name: "expand",
    inputs: { x: [3, 1, 5] },
    run: ({ x }) => [x.expand([3, 4, 5]).mul(2), x.expand([2, 3, 4, 5]).sum(0)],
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "a view that no reshape gives",
    inputs: { x: [12] },
    run: ({ x }) => [
      x.asStrided([3, 4], [2, 1]).mul(2),
      x.asStrided([2, 2], [5, 3], 1).mul(1),
      torch.diagonal(x.view([3, 4])).mul(2),
    ],
  },
  { name: "unfold", inputs: { x: [2, 9] }, run: ({ x }) => [x.unfold(1, 3, 2).mul(2), x.unfold(1, 3, 3).add(1)] },
  {
    name: "reshape that copies",
    inputs: X,
    run: ({ x }) => [x.transpose(0, 2).reshape([20, 3]), x.transpose(1, 2).contiguous()],
  },
  {
    name: "cat, stack",
    inputs: { x: [2, 3], y: [4, 3], z: [2, 3] },
    run: ({ x, y, z }) => [
      torch.cat([x, y], 0),
      torch.cat([x, z, x], -1),
      torch.stack([x, z], 1),
      torch.stack([x, z], -1),
    ],
  },
  {
    name: "cat of dtypes and nothing",
    inputs: { x: [2, 3], n: { shape: [0], of: "plain" }, k: { shape: [2, 3], of: "whole" } },
    run: ({ x, n, k }) => [torch.cat([x, n, x]), torch.cat([x, k], 1)],
    ...float,
  },
  { name: "pad", inputs: X, run: ({ x }) => [torch.pad(x, [1, 2]), torch.pad(x, [1, -1, 2, 0], "constant", 3)] },
  {
    name: "pad with what is there",
    inputs: { x: [2, 3, 5, 6] },
    run: ({ x }) => [torch.pad(x, [1, 2, 3, 1], "reflect"), torch.pad(x, [2, 0, 1, 3], "replicate")],
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "flip, roll, repeat",
    inputs: X,
    run: ({ x }) => [
      torch.flip(x, [0, -1]),
      torch.roll(x, [2], [1]),
      torch.roll(x, [7]),
      x.repeat([2, 1, 3]),
      x.repeat([2, 3, 1, 1]),
    ],
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "pixelShuffle, pixelUnshuffle",
    inputs: { x: [2, 8, 3, 4], y: [2, 3, 4, 6] },
    run: ({ x, y }) => [torch.pixelShuffle(x, 2), torch.pixelUnshuffle(y, 2)],
  },
  { name: "tril, triu", inputs: X, run: ({ x }) => [torch.tril(x), torch.triu(x, 1), torch.tril(x, -1)] },
  {
    name: "made out of nothing",
    inputs: { x: { shape: [2, 3], of: "plain" } },
    run: ({ x }) =>
      [
        torch.zeros([2, 3]),
        torch.ones([3]),
        torch.full([2], 1.5),
        torch.arange(5),
        torch.arange(1, 9, 3),
        torch.arange(0, 1, 0.3),
        torch.eye(3),
        torch.linspace(-1, 1, 5),
        torch.zerosLike(x),
        torch.onesLike(x),
        torch.fullLike(x, 7),
        x.newZeros([2]),
      ].map((v) => v.add(0)),
    backward: false,
    ...float,
  },
  {
    name: "casts",
    inputs: X,
    run: ({ x }) => [x.to("bfloat16"), x.to("float16"), x.to("float32").mul(2), x.to("float64").mul(2)],
    ...float,
  },
  {
    name: "casts to whole numbers and flags",
    inputs: { x: { shape: [3, 4], of: "plain" } },
    run: ({ x }) => [
      x.mul(4).to("int64"),
      x.mul(4).to("int32"),
      x.gt(0).to("float32"),
      x.round().to("bool"),
      x.gt(0).to("uint8"),
    ],
    backward: false,
    ...float,
  },
  {
    name: "copies into parts",
    inputs: { x: { shape: [4, 6], of: "plain" }, y: { shape: [2, 6], of: "plain" } },
    run: ({ x, y }) => {
      x.slice(0, 1, 3).copy_(y);
      x.select(1, 2).fill_(9);
      x.slice(1, 0, 6, 2).mul_(2);
      x.t().select(0, 5).add_(1);
      return [x.add(0)];
    },
    backward: false,
  },
];

export const products: readonly Case[] = [
  { name: "mm", inputs: { x: [4, 6], y: [6, 5] }, run: ({ x, y }) => x.mm(y) },
  { name: "mm of transposed", inputs: { x: [6, 4], y: [5, 6] }, run: ({ x, y }) => x.t().mm(y.t()) },
  { name: "mm over nothing", inputs: { x: [4, 0], y: [0, 5] }, run: ({ x, y }) => x.mm(y) },
  { name: "bmm", inputs: { x: [3, 4, 6], y: [3, 6, 5] }, run: ({ x, y }) => x.bmm(y) },
  {
    name: "matmul",
    inputs: { x: [2, 3, 4, 6], y: [6, 5] },
    run: ({ x, y }) => [x.matmul(y), x.matmul(y.select(1, 0))],
  },
  {
    name: "mv, dot, outer",
    inputs: { x: [4, 6], y: [6] },
    run: ({ x, y }) => [torch.mv(x, y), torch.dot(y, y), torch.outer(y, y)],
  },
  {
    name: "addmm",
    inputs: { b: [5], x: [4, 6], y: [6, 5] },
    run: ({ b, x, y }) => [torch.addmm(b, x, y), torch.addmm(b, x, y, { beta: 0.5, alpha: 2 })],
  },
  {
    name: "baddbmm",
    inputs: { b: [3, 4, 5], x: [3, 4, 6], y: [3, 6, 5] },
    run: ({ b, x, y }) => torch.baddbmm(b, x, y, { beta: 2, alpha: 0.3 }),
  },
  {
    name: "addmv, addr, addbmm",
    inputs: { b: [4], x: [4, 6], y: [6], c: [4, 5], p: [3, 4, 6], q: [3, 6, 5] },
    run: ({ b, x, y, c, p, q }) => [
      torch.addmv(b, x, y, { beta: 0.5 }),
      torch.addr(x, b, y, { alpha: 2 }),
      torch.addbmm(c, p, q),
    ],
    within: { bfloat16: 2 ** -6 },
  },
  { name: "linear", inputs: { x: [2, 3, 6], w: [5, 6], b: [5] }, run: ({ x, w, b }) => torch.linear(x, w, b) },
  { name: "einsum", inputs: { x: [2, 3, 4], y: [2, 5, 4] }, run: ({ x, y }) => torch.einsum("bik,bjk->bij", [x, y]) },
];

const I = { x: [5, 4], k: whole([3], 5), r: whole([2, 3], 5), g: whole([2, 4], 5) };
export const indexing: readonly Case[] = [
  {
    name: "embedding",
    inputs: { w: [7, 4], k: whole([2, 3], 7) },
    run: ({ w, k }) => [torch.embedding(w, k), torch.embedding(w, k, 2)],
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "indexSelect",
    inputs: I,
    run: ({ x, k }) => [torch.indexSelect(x, 0, k), torch.indexSelect(x, 1, k.clamp(0, 3))],
  },
  {
    name: "gather, scatter",
    inputs: { ...I, v: [2, 4] },
    run: ({ x, g, v }) => [torch.gather(x, 0, g), torch.scatterAdd(x, 0, g, v)],
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "scatter of one number",
    inputs: { x: [5, 4], k: whole([1, 4], 5) },
    run: ({ x, k }) => torch.scatter(x, 0, k, 2.5),
  },
  {
    name: "indexAdd, indexFill",
    inputs: { ...I, v: [3, 4] },
    run: ({ x, k, v }) => [torch.indexAdd(x, 0, k, v, { alpha: 2 }), torch.indexFill(x, 0, k, 1.5)],
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "scatterReduce",
    inputs: { x: { shape: [5, 4], of: "positive" }, g: whole([2, 4], 5), v: { shape: [2, 4], of: "positive" } },
    run: ({ x, g, v }) =>
      (["sum", "prod", "amax", "amin", "mean"] as const).flatMap((reduce) => [
        torch.scatterReduce(x, 0, g, v, reduce).detach(),
        torch.scatterReduce(x, 0, g, v, reduce, { includeSelf: false }).detach(),
      ]),
    backward: false,
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "bucketize, searchsorted",
    inputs: { x: { shape: [3, 4], of: "plain" }, b: { shape: [5], of: "plain" }, c: { shape: [3, 6], of: "plain" } },
    run: ({ x, b, c }) => {
      const [edges, rows] = [b.sort()[0], c.sort(-1)[0]];
      const odd = torch.cat([x.reshape([-1]), edges, torch.full([1], NaN)]);
      return [
        torch.bucketize(odd, edges),
        torch.bucketize(odd, edges, { right: true, outInt32: true }),
        torch.searchsorted(rows, x),
        torch.searchsorted(edges, odd, { side: "right" }),
      ];
    },
    backward: false,
    ...float,
  },
];
