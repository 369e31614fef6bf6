/**
 * An operator with a backward of your own: rounding whose gradient passes straight through, as quantization-aware
 * training uses.
 */
import { AutogradFunction, tensor } from "@nbit/torch";
import type { FunctionContext, Tensor } from "@nbit/torch";

class RoundStraightThrough extends AutogradFunction {
  static forward(_ctx: FunctionContext, x: Tensor, step: number): Tensor {
    return x.div(step).round().mul(step);
  }

  static backward(_ctx: FunctionContext, gradient: Tensor): (Tensor | null)[] {
    return [gradient, null];
  }
}

const x = tensor([0.1, 0.4, 0.6, 0.9], { requiresGrad: true });
const y = RoundStraightThrough.apply(x, 0.25);
y.square().sum().backward();
console.log("rounded ", y.tolist());
console.log("gradient", x.grad?.tolist());
