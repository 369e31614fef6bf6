/** LSTM layers as CPUs record them: a loop over time, and one back. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { sliceAt, updateSliceAt } from "../stablehlo/gather.js";
import { loop } from "../stablehlo/loop.js";
import { dot } from "../stablehlo/product.js";
import { sum } from "../stablehlo/reduce.js";
import { range, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

const LSTM = 2;
const TIMES: { readonly contract: readonly [readonly number[], readonly number[]] } = { contract: [[1], [1]] };

interface Layer {
  /** [time, batch, inputs]. */
  readonly x: Ssa;
  readonly ofInput: Ssa;
  readonly ofHidden: Ssa;
  readonly biases: readonly Ssa[];
  readonly hidden: Ssa;
  readonly cell: Ssa;
  readonly reversed: boolean;
  readonly steps: number;
}
function layerOf(o: Operation): Layer {
  o.only("mode", LSTM);
  o.only("bidirectional", false);
  o.implied("hidden_size", "num_layers", "batch_first", "train");
  const forward = o.has("weight0");
  const names = forward ? ["weight0", "weight1", "weight2", "weight3"] : ["weight1", "weight2", "weight3", "weight4"];
  const [ofInput, ofHidden, first, second] = names.map((name) => o.tensor(name));
  const x = o.tensor("input");
  return {
    x,
    ofInput,
    ofHidden,
    biases: o.flag("has_biases") ? [first, second] : [],
    hidden: o.tensor("hx_"),
    cell: forward ? o.tensor("cx_") : o.tensor("cx_tmp"),
    reversed: o.flag("reverse"),
    steps: x.shape[0],
  };
}

/** Which moment a round is about. */
const moment = (e: Emitter, round: Ssa, steps: number, backwards: boolean): Ssa =>
  backwards ? e.sub(steps - 1, round) : round;
/** One moment of [time, …]. */
function at(e: Emitter, v: Ssa, t: Ssa): Ssa {
  const rest = v.shape.slice(1);
  const start = [t, ...rest.map(() => e.full(0, "i32"))];
  return e.reshape(sliceAt(e, v, start, [1, ...rest]), rest);
}
function put(e: Emitter, into: Ssa, t: Ssa, v: Ssa): Ssa {
  const start = [t, ...v.shape.map(() => e.full(0, "i32"))];
  return updateSliceAt(e, into, e.reshape(v, [1, ...v.shape]), start);
}
/** Gates in the order i, f, g, o: [batch, 4 · hidden] after their functions. */
function split(e: Emitter, gates: Ssa): [Ssa, Ssa, Ssa, Ssa] {
  const n = gates.shape[1] / 4;
  return range(4).map((k) => e.slice(gates, 1, k * n, (k + 1) * n)) as [Ssa, Ssa, Ssa, Ssa];
}

/** [time, batch, hidden] of every moment, the last ones, and what the gradient needs. */
function run(e: Emitter, l: Layer): { hs: Ssa; h: Ssa; c: Ssa; gates: Ssa; cells: Ssa } {
  const flat = (v: Ssa): Ssa => e.reshape(v, [v.shape[0] * v.shape[1], v.shape[2]]);
  const element = l.x.element;
  let drive = dot(e, flat(l.x), e.convert(l.ofInput, element), TIMES);
  for (const b of l.biases) drive = e.add(drive, e.convert(b, drive.element));
  const [batch, wide] = [l.x.shape[1], drive.shape[1]];
  const whole = e.reshape(drive, [l.steps, batch, wide]);
  const size = wide / 4;
  const zeros = (n: number, of = drive.element): Ssa => e.full(0, of, [l.steps, batch, n]);
  const [h0, c0] = [e.convert(l.hidden, element), e.convert(l.cell, drive.element)];
  const [h, c, hs, gates, cells] = loop(
    e,
    l.steps,
    [h0, c0, zeros(size, element), zeros(wide), zeros(size)],
    [whole, e.convert(l.ofHidden, element)],
    (round, [h, c, hs, gates, cells], [whole, ofHidden]) => {
      const t = moment(e, round, l.steps, l.reversed);
      const [i, f, g, o] = split(e, e.add(at(e, whole, t), dot(e, h, ofHidden, TIMES)));
      const on = [e.unary("logistic", i), e.unary("logistic", f), e.unary("tanh", g), e.unary("logistic", o)];
      const cell = e.add(e.mul(on[1], c), e.mul(on[0], on[2]));
      const next = e.convert(e.mul(on[3], e.unary("tanh", cell)), element);
      return [next, cell, put(e, hs, t, next), put(e, gates, t, e.concat(on, 1)), put(e, cells, t, cell)];
    },
  );
  return { hs, h, c, gates, cells };
}
const forward: Lowering = (e, o) => {
  o.need(o.numbers("batch_sizes").length === 0, "batch_sizes", "none: sequences of one length");
  const l = layerOf(o);
  const r = run(e, l);
  const space = o.out(3); // the kernel's own memory; the gradient finds its values beside it
  o.leave(3, [r.gates, r.cells]);
  return [
    finish(e, r.hs, o.out(0)),
    finish(e, e.reshape(r.h, o.out(1).shape), o.out(1)),
    finish(e, e.reshape(r.c, o.out(2).shape), o.out(2)),
    () => e.full(0, space.element, space.shape),
  ];
};

/** What came back to each result; null: nothing did. */
const backward: Lowering = (e, o) => {
  o.implied("output", "hy_", "cy_", "batch_sizes");
  const l = layerOf(o);
  const [gates, cells] = o.found("workspace");
  const element = gates.element;
  const [toHs, toH, toC] = [o.optional("grad_output"), o.optional("grad_hy"), o.optional("grad_cy")];
  const shape = [l.x.shape[1], cells.shape[2]];
  const start = (v: Ssa | null): Ssa =>
    v === null ? e.full(0, element, shape) : e.reshape(e.convert(v, element), shape);
  const given = toHs === null ? e.full(0, element, cells.shape) : e.convert(toHs, element);
  const weights = e.convert(l.ofHidden, l.x.element);
  // The cell before each moment, in time's order.
  const first = e.reshape(e.convert(l.cell, element), [1, ...shape]);
  const before = (all: Ssa, start: Ssa): Ssa =>
    l.reversed
      ? e.concat([e.slice(all, 0, 1, l.steps), start], 0)
      : e.concat([start, e.slice(all, 0, 0, l.steps - 1)], 0);
  const [gh, gc, slopes] = loop(
    e,
    l.steps,
    [start(toH), start(toC), e.full(0, element, gates.shape)],
    [gates, cells, before(cells, first), given, weights],
    (round, [gh, gc, slopes], [gates, cells, earlier, given, weights]) => {
      const t = moment(e, round, l.steps, !l.reversed);
      const [i, f, g, out] = split(e, at(e, gates, t));
      const toHidden = e.add(gh, at(e, given, t));
      const tanh = e.unary("tanh", at(e, cells, t));
      const toCell = e.add(gc, e.mul(e.mul(toHidden, out), e.sub(1, e.mul(tanh, tanh))));
      const logistic = (v: Ssa, y: Ssa): Ssa => e.mul(v, e.mul(y, e.sub(1, y)));
      const slope = e.concat(
        [
          logistic(e.mul(toCell, g), i),
          logistic(e.mul(toCell, at(e, earlier, t)), f),
          e.mul(e.mul(toCell, i), e.sub(1, e.mul(g, g))),
          logistic(e.mul(toHidden, tanh), out),
        ],
        1,
      );
      const back = dot(e, e.convert(slope, weights.element), weights, { contract: [[1], [0]] });
      return [e.convert(back, element), e.mul(toCell, f), put(e, slopes, t, slope)];
    },
  );
  const rows = l.steps * shape[0];
  const flat = (v: Ssa): Ssa => e.reshape(v, [rows, v.shape[2]]);
  const narrow = e.convert(flat(slopes), l.x.element);
  const hiddenBefore = before(
    e.convert(o.tensor("output"), l.x.element),
    e.reshape(e.convert(l.hidden, l.x.element), [1, ...shape]),
  );
  const toX = dot(e, narrow, e.convert(l.ofInput, l.x.element), { contract: [[1], [0]] });
  const toBias = sum(e, flat(slopes), [0]);
  const all = [
    e.reshape(toX, l.x.shape),
    dot(e, narrow, flat(l.x), { contract: [[0], [0]] }),
    dot(e, narrow, flat(hiddenBefore), { contract: [[0], [0]] }),
    toBias,
    toBias,
    gh,
    gc,
  ];
  return all.map((v, i) => (o.outs[i] === null ? null : finish(e, e.reshape(v, o.out(i).shape), o.out(i))));
};

addLowerings({ "aten::mkldnn_rnn_layer": forward, "aten::mkldnn_rnn_layer_backward": backward });
