/** Recurrent layers by ONNX's own operators, one for each layer; cells by their formulas. */
import { range, type Lowering, type Op, type Operand } from "../op.js";

/** Gates in PyTorch's order: input, forget, cell, output; reset, update, new. ONNX's: by position there. */
const ORDER = { LSTM: [0, 3, 1, 2], GRU: [1, 0, 2], RNN: [0] } as const;
type Kind = keyof typeof ORDER;

function reordered(o: Op, kind: Kind, weight: string, hidden: number): string {
  const order: readonly number[] = ORDER[kind];
  if (order.length === 1) return weight;
  const gates = order.map((gate) => o.g.part(weight, 0, gate * hidden, (gate + 1) * hidden));
  return o.node("Concat", gates, { axis: 0 });
}

interface Layer {
  readonly w: string;
  readonly r: string;
  readonly b: string | null;
}
/** The weights of one layer, both directions: `[directions, gates·hidden, …]`. */
function layerOf(o: Op, kind: Kind, params: readonly Operand[], hidden: number, biases: boolean): Layer {
  const per = biases ? 4 : 2;
  const directions = range(params.length / per).map((d) =>
    params.slice(d * per, (d + 1) * per).map((p) => reordered(o, kind, p.name, hidden)),
  );
  const joined = (make: (parts: readonly string[]) => string): string =>
    o.node(
      "Concat",
      directions.map((parts) => o.g.unsqueeze(make(parts), [0])),
      { axis: 0 },
    );
  return {
    w: joined((p) => p[0] as string),
    r: joined((p) => p[1] as string),
    b: biases ? joined((p) => o.node("Concat", [p[2] as string, p[3] as string], { axis: 0 })) : null,
  };
}

const layers =
  (kind: Kind, activation?: string): Lowering =>
  (o) => {
    if (!o.has("input") || o.call.overload === "data") o.refuse("sequences that are not packed");
    const input = o.t("input");
    const states = kind === "LSTM" ? o.tensors("hx") : [o.t("hx")];
    const [h0, c0] = states;
    const params = o.tensors("params");
    const biases = o.flag("has_biases");
    const directions = o.flag("bidirectional") ? 2 : 1;
    const count = o.int("num_layers");
    if (o.flag("train") && o.number("dropout", 0) > 0) o.refuse("a model in evaluation: call model.eval()");
    const per = params.length / count;
    const hidden = h0?.shape.at(-1) ?? 1;
    if (per !== (biases ? 4 : 2) * directions || (c0 !== undefined && c0.shape.at(-1) !== hidden))
      o.refuse("layers without projections");
    const first = o.flag("batch_first");
    let x = first ? o.g.transpose(input.name, [1, 0, 2]) : input.name;
    const finals: string[][] = states.map(() => []);
    for (const layer of range(count)) {
      const { w, r, b } = layerOf(o, kind, params.slice(layer * per, (layer + 1) * per), hidden, biases);
      const initial = states.map((s) => o.g.part(s.name, 0, layer * directions, (layer + 1) * directions));
      const made = o.g.nodes(
        kind,
        [x, w, r, b, null, ...initial],
        {
          hidden_size: hidden,
          direction: directions === 2 ? "bidirectional" : "forward",
          ...(kind === "GRU" ? { linear_before_reset: 1 } : {}),
          ...(activation === undefined ? {} : { activations: range(directions).map(() => activation) }),
        },
        1 + states.length,
      );
      // [time, directions, batch, hidden] → [time, batch, directions · hidden]
      const y = made[0] as string;
      x =
        directions === 1
          ? o.g.squeeze(y, [1])
          : o.g.reshape(o.g.transpose(y, [0, 2, 1, 3]), o.g.ints([0, 0, directions * hidden]));
      made.slice(1).forEach((state, i) => finals[i]?.push(state));
    }
    const ends = finals.map((parts) =>
      parts.length === 1 ? (parts[0] as string) : o.node("Concat", parts, { axis: 0 }),
    );
    return [first ? o.g.transpose(x, [1, 0, 2]) : x, ...ends];
  };

function gemm(o: Op, x: string, weight: string, bias: string): string {
  const b = o.maybe(bias);
  return o.node("Gemm", [x, o.t(weight).name, b?.name ?? null], { transB: 1 });
}
/** Parts of the last axis, one for each gate. */
function gates(o: Op, x: string, count: number, hidden: number): string[] {
  return range(count).map((i) => o.g.part(x, 1, i * hidden, (i + 1) * hidden));
}
const lstmCell: Lowering = (o) => {
  const [h, c] = o.tensors("hx") as [Operand, Operand];
  const hidden = h.shape.at(-1) ?? 1;
  const sum = o.node("Add", [gemm(o, o.t("input").name, "w_ih", "b_ih"), gemm(o, h.name, "w_hh", "b_hh")]);
  const [i, f, g, out] = gates(o, sum, 4, hidden) as [string, string, string, string];
  const cell = o.node("Add", [
    o.node("Mul", [o.node("Sigmoid", [f]), c.name]),
    o.node("Mul", [o.node("Sigmoid", [i]), o.node("Tanh", [g])]),
  ]);
  return [o.node("Mul", [o.node("Sigmoid", [out]), o.node("Tanh", [cell])]), cell];
};
const gruCell: Lowering = (o) => {
  const h = o.t("hx");
  const hidden = h.shape.at(-1) ?? 1;
  const x = gates(o, gemm(o, o.t("input").name, "w_ih", "b_ih"), 3, hidden) as [string, string, string];
  const r = gates(o, gemm(o, h.name, "w_hh", "b_hh"), 3, hidden) as [string, string, string];
  const reset = o.node("Sigmoid", [o.node("Add", [x[0], r[0]])]);
  const update = o.node("Sigmoid", [o.node("Add", [x[1], r[1]])]);
  const fresh = o.node("Tanh", [o.node("Add", [x[2], o.node("Mul", [reset, r[2]])])]);
  return o.node("Add", [fresh, o.node("Mul", [update, o.node("Sub", [h.name, fresh])])]);
};
const rnnCell =
  (activation: "Tanh" | "Relu"): Lowering =>
  (o) =>
    o.node(activation, [
      o.node("Add", [gemm(o, o.t("input").name, "w_ih", "b_ih"), gemm(o, o.t("hx").name, "w_hh", "b_hh")]),
    ]);

export const recurrent: Readonly<Record<string, Lowering>> = {
  lstm: layers("LSTM"),
  gru: layers("GRU"),
  rnn_tanh: layers("RNN", "Tanh"),
  rnn_relu: layers("RNN", "Relu"),
  lstm_cell: lstmCell,
  gru_cell: gruCell,
  rnn_tanh_cell: rnnCell("Tanh"),
  rnn_relu_cell: rnnCell("Relu"),
};
