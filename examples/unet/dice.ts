import { sub } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

/** How much two masks `[n, …]` overlap: 2 · |a ∩ b| / (|a| + |b|), from 0 to 1, over all of them together. */
export function diceCoeff(input: Tensor, target: Tensor, epsilon = 1e-6): Tensor {
  const inter = input.mul(target).sum().mul(2);
  const setsSum = input.sum().add(target.sum());
  return inter.add(epsilon).div(setsSum.add(epsilon));
}

/** 1 less the overlap; falls as masks agree. */
export function diceLoss(input: Tensor, target: Tensor): Tensor {
  return sub(1, diceCoeff(input, target));
}
