/** Parameters to step, and what makes an optimizer of them. */
import { nn, type optim, randn, type Tensor } from "@nbit/torch";

export type Make = (params: Iterable<Tensor>) => optim.Optimizer;
export const parameter = (...shape: number[]): nn.Parameter => new nn.Parameter(randn(shape).mul(0.1));
