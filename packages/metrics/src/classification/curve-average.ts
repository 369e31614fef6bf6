import { ArgumentError, where, type Tensor } from "@nbit/torch";
import { safeDivide } from "./counts.js";
import type { Average } from "./task.js";

/** Areas of classes or labels as one. Those that are not a number are left out. */
export function averageOfCurves(areas: Tensor, average: Average, occurrences: () => Tensor): Tensor {
  if (average === null || average === "none") return areas;
  const known = areas.isnan().logicalNot();
  const values = where(known, areas, 0);
  if (average === "macro") return values.sum().div(known.sum());
  if (average === "micro")
    throw new ArgumentError(
      "compute",
      'average to be "macro", "weighted", "none" or null for several classes',
      average,
    );
  const weights = where(known, occurrences(), 0);
  return values.mul(safeDivide(weights, weights.sum())).sum();
}
