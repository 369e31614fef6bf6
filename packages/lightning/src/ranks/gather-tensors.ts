/** Tensors of every process in each of them. */
import { AutogradFunction, stack, type FunctionContext, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { mapTensors } from "../collections.js";
import type { Strategy } from "../strategies/strategy.js";

/** Every tensor in `data`, stacked over ranks; `data` itself where one process trains alone. All processes call it. */
export function gatherTensors(
  data: unknown,
  { worldSize, globalRank }: Pick<Strategy, "worldSize" | "globalRank">,
  syncGrads: boolean,
): unknown {
  if (worldSize === 1 || !dist.isInitialized()) return data;
  return mapTensors(data, (t) =>
    syncGrads && t.requiresGrad ? GatherWithGradients.apply(t, globalRank) : gathered(t),
  );
}

const gathered = (t: Tensor): Tensor => stack(dist.allGather(t.detach().contiguous()));

/** Backward: a process's part counts in the losses of all. */
class GatherWithGradients extends AutogradFunction {
  static forward(ctx: FunctionContext, t: Tensor, rank: number): Tensor {
    ctx.values["rank"] = rank;
    return gathered(t);
  }
  static backward(ctx: FunctionContext, gradient: Tensor): (Tensor | null)[] {
    const sum = gradient.contiguous().clone();
    dist.allReduce(sum);
    return [sum.select(0, ctx.values["rank"] as number), null];
  }
}
