/** How averages of weights take in the newest ones. */
import { noGrad } from "../../autograd/modes.js";
import { byDefault, real } from "../../kinds.js";
import { atMost } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import type { Tensor } from "../../tensor/tensor.js";
import { operator } from "../operators.js";

/** The new average, from the old one, the newest value and how many went into the old one. */
export type AvgFn = (averaged: Tensor, current: Tensor, numAveraged: Tensor | number) => Tensor;
/** The same for lists of tensors of one dtype and device, in place. */
export type MultiAvgFn = (
  averaged: readonly Tensor[],
  current: readonly Tensor[],
  numAveraged: Tensor | number,
) => void;
export interface EmaOptions {
  /** How much of the average stays, in [0, 1]. Default 0.999. */
  readonly decay?: number;
}
type EmaCall = Call<EmaOptions, ["decay"], [decay?: number]>;
const EMA = { decay: byDefault(0.999, real("[0, 1]")) };
const readMulti = signature("getEmaMultiAvgFn", EMA);
const readOne = signature("getEmaAvgFn", EMA);

const floating = ([first]: readonly Tensor[]): boolean =>
  first !== undefined && (first.isFloatingPoint() || first.isComplex());

/** Exponential averages of lists: a ← decay · a + (1 - decay) · p, in the averages' dtype. */
export function getEmaMultiAvgFn(...given: EmaCall): MultiAvgFn {
  const { decay } = readMulti(given);
  return (averaged, current) =>
    noGrad(() => {
      if (averaged.length === 0) return;
      if (floating(averaged)) lerp_(averaged, current, 1 - decay);
      else averaged.forEach((a, i) => void a.copy_(a.mul(decay).add((current[i] as Tensor).mul(1 - decay))));
    });
}
/** Exponential averages of single tensors. */
export function getEmaAvgFn(...given: EmaCall): AvgFn {
  const { decay } = readOne(given);
  return (averaged, current) => noGrad(() => averaged.mul(decay).add(current.mul(1 - decay)));
}
/** Means of lists: a ← a + (p - a) / (n + 1). Reads n, where it is a tensor: that waits for its device. */
export function getSwaMultiAvgFn(): MultiAvgFn {
  atMost("getSwaMultiAvgFn", arguments, 0);
  return (averaged, current, numAveraged) =>
    noGrad(() => {
      if (averaged.length === 0) return;
      if (floating(averaged))
        return void lerp_(
          averaged,
          current,
          isTensor(numAveraged) ? numAveraged.add(1).reciprocal().item() : 1 / (numAveraged + 1),
        );
      const rest = sub(current, averaged);
      if (isTensor(numAveraged)) addcdiv_(averaged, rest, new Array<Tensor>(averaged.length).fill(numAveraged.add(1)));
      else add_(averaged, rest, { alpha: 1 / (numAveraged + 1) });
    });
}
/** Means of single tensors. */
export function getSwaAvgFn(): AvgFn {
  atMost("getSwaAvgFn", arguments, 0);
  return (averaged, current, numAveraged) =>
    noGrad(() => {
      const rest = current.sub(averaged);
      return averaged.add(isTensor(numAveraged) ? rest.div(numAveraged.add(1)) : rest.div(numAveraged + 1));
    });
}

const lerp_ = operator("_foreach_lerp_");
const sub = operator("_foreach_sub");
const add_ = operator("_foreach_add_");
const addcdiv_ = operator("_foreach_addcdiv_");
