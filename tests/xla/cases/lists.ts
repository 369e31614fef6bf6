import { operators, type Tensor } from "@nbit/torch";
import type { Case } from "./case.js";

type Call = (...args: unknown[]) => unknown;
const aten = operators("aten") as Readonly<Record<string, Call>>;
const call = (name: string, ...args: unknown[]): Tensor[] => [(aten[name] as Call)(...args)].flat() as Tensor[];
const plain = (...shape: number[]) => ({ shape, of: "plain" }) as const;
const near = (...shape: number[]) => ({ shape, of: "unit" }) as const;
const TWO = { x: plain(3, 4), y: plain(5) };
const FOUR = { ...TWO, u: plain(3, 4), v: plain(5), a: near(3, 4), b: near(5) };

/** Operators over lists, and what optimizers and loss scalers are made of. */
export const lists: readonly Case[] = [
  {
    name: "functions",
    inputs: FOUR,
    run: ({ a, b }) =>
      ["neg", "abs", "sqrt", "exp", "log", "reciprocal", "sign", "tanh", "sigmoid", "rsqrt", "expm1"].flatMap((f) =>
        call(`_foreach_${f}`, [a.detach(), b.detach()]),
      ),
    backward: false,
  },
  {
    name: "lists with lists",
    inputs: FOUR,
    run: ({ x, y, u, v }) => [
      ...call("_foreach_add", [x, y], [u, v], { alpha: 0.5 }),
      ...call("_foreach_sub", [x, y], [u, v]),
      ...call("_foreach_mul", [x, y], [u, v]),
      ...call("_foreach_div", [x, y], [u, v]),
      ...call("_foreach_maximum", [x, y], [u, v]),
      ...call("_foreach_minimum", [x, y], [u, v]),
    ],
    backward: false,
  },
  {
    name: "lists with numbers",
    inputs: TWO,
    run: ({ x, y }) => [
      ...call("_foreach_add", [x, y], 0.5),
      ...call("_foreach_mul", [x, y], [2, 0.25]),
      ...call("_foreach_div", [x, y], 4),
      ...call("_foreach_sub", [x, y], 0.5),
      ...call("_foreach_clamp_min", [x, y], 0.25),
      ...call("_foreach_clamp_max", [x, y], [0.25, -0.5]),
      ...call("_foreach_pow", [x, y], 2),
    ],
    backward: false,
  },
  {
    name: "products into lists",
    inputs: FOUR,
    run: ({ x, y, u, v, a, b }) => [
      ...call("_foreach_addcmul", [x, y], [u, v], [u, v], 0.5),
      ...call("_foreach_addcdiv", [x, y], [u, v], [a.detach(), b.detach()], [0.5, -2]),
      ...call("_foreach_lerp", [x, y], [u, v], 0.25),
      ...call("_foreach_lerp", [x, y], [u, v], [a.detach(), b.detach()]),
    ],
    backward: false,
  },
  {
    name: "norms of lists",
    inputs: TWO,
    run: ({ x, y }) => [
      ...call("_foreach_norm", [x, y], 2),
      ...call("_foreach_norm", [x, y], 1),
      ...call("_foreach_norm", [x, y], Infinity),
    ],
    backward: false,
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "lists in place",
    inputs: FOUR,
    run: ({ x, y, u, v }) => {
      call("_foreach_mul_", [x, y], 0.5);
      call("_foreach_add_", [x, y], [u, v], { alpha: -1 });
      call("_foreach_neg_", [u, v]);
      call("_foreach_copy_", [u], [x]);
      call("_foreach_zero_", [v]);
      return [x.add(0), y.add(0), u.add(0), v.add(0)];
    },
    backward: false,
  },
  {
    name: "a loss scale",
    inputs: {
      x: plain(3, 4),
      y: plain(5),
      f: plain(1),
      s: near(1),
      k: { shape: [1], of: "whole", high: 2, dtype: "int32" },
    },
    run: ({ x, y, f, s, k }) => {
      const [found, scale, count] = [f.mul(0), s.detach().add(7), k.clone()];
      call("_amp_foreach_non_finite_check_and_unscale_", [x, y.div(y.gt(0))], found, s.detach());
      call("_amp_update_scale_", scale, count, found, 2, 0.5, 2);
      return [x.add(0), found.add(0), scale.add(0), count.add(0)];
    },
    backward: false,
    dtypes: ["float32"],
  },
  {
    name: "a fused step that is skipped or not",
    inputs: {
      x: plain(3, 4),
      g: plain(3, 4),
      m: plain(3, 4),
      v: near(3, 4),
      n: { shape: [], of: "whole", low: 3, high: 4 },
      s: near(1),
    },
    run: ({ x, g, m, v, n, s }) =>
      [0, 1].flatMap((found) => {
        const all = [x, g, m, v.detach()].map((t) => t.clone());
        const [p, d, a, b] = all as [Tensor, Tensor, Tensor, Tensor];
        call("_fused_adam_", [p], [d], [a], [b], [], [n.to("float32")], {
          lr: 0.1,
          beta1: 0.9,
          beta2: 0.99,
          weightDecay: 0.1,
          eps: 1e-6,
          amsgrad: false,
          maximize: true,
          gradScale: s.detach(),
          foundInf: s.detach().mul(0).add(found),
        });
        return all.map((t) => t.add(0));
      }),
    backward: false,
    dtypes: ["float32"],
  },
  {
    name: "fused Adagrad",
    inputs: { x: plain(3, 4), g: plain(3, 4), v: near(3, 4), n: { shape: [], of: "whole", low: 3, high: 4 } },
    run: ({ x, g, v, n }) => {
      const all = [x, g, v.detach()].map((t) => t.clone());
      const [p, d, a] = all as [Tensor, Tensor, Tensor];
      call("_fused_adagrad_", [p], [d], [a], [n.to("float32")], {
        lr: 0.1,
        lrDecay: 0.01,
        weightDecay: 0.1,
        eps: 1e-6,
        maximize: false,
      });
      return all.map((t) => t.add(0));
    },
    backward: false,
    dtypes: ["float32"],
  },
];
