/** What a loss scaler does to gradients and to its scale. */
import { addLowerings } from "../lower/registry.js";
import type { Lowering } from "../lower/operation.js";
import { reduce } from "../stablehlo/reduce.js";
import { accumulator, range, type Ssa } from "../stablehlo/types.js";

const unscale: Lowering = (e, o) => {
  const [grads, inverse] = [o.tensors("self"), e.reshape(o.tensor("inv_scale"), [])];
  const before = o.tensor("found_inf");
  let found: Ssa = e.compare("NE", e.reshape(before, []), 0);
  const scaled = grads.map((g) => {
    const bad = e.unary("not", e.isFinite(g));
    found = e.binary("or", found, reduce(e, "or", bad, range(g.shape.length)));
    const up = e.convert(g, accumulator(g.element));
    return e.convert(e.mul(up, e.convert(inverse, up.element)), g.element);
  });
  return [...scaled, e.reshape(e.convert(found, before.element), before.shape)];
};
const update: Lowering = (e, o) => {
  const [scale, tracker, found] = [o.tensor("self"), o.tensor("growth_tracker"), o.tensor("found_inf")];
  const [grow, shrink, interval] = [
    o.number("scale_growth_factor"),
    o.number("scale_backoff_factor"),
    o.number("growth_interval"),
  ];
  const bad = e.compare("NE", e.reshape(found, scale.shape), 0);
  const count = e.add(e.reshape(tracker, scale.shape), 1);
  const due = e.compare("GE", count, interval);
  const grown = e.mul(scale, grow);
  const larger = e.select(e.binary("and", due, e.isFinite(grown)), grown, scale);
  return [
    e.select(bad, e.mul(scale, shrink), larger),
    e.reshape(e.select(e.binary("or", bad, due), 0, count), tracker.shape),
  ];
};

addLowerings({ "aten::_amp_foreach_non_finite_check_and_unscale_": unscale, "aten::_amp_update_scale_": update });
