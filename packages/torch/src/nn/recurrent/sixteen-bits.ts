/**
 * LSTMs under autocast on a CPU: libtorch hands them to oneDNN in 16 bits, which has none for processors that do not
 * compute in such numbers; PyTorch's layer fails there. Here they compute in float32 and round what they return.
 */
import { autocast, getAutocastDtype, isAutocastEnabled } from "../../amp/autocast.js";
import { enableGrad } from "../../autograd/modes.js";
import { TorchError } from "../../errors.js";
import { lstm, ones } from "../../ops/index.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";

type Sixteen = "float16" | "bfloat16";
const known = new Map<Sixteen, boolean>();

/** Whether a small LSTM under autocast to a dtype runs forward and backward here; asked once for each dtype. */
function runs(dtype: Sixteen): boolean {
  let answer = known.get(dtype);
  if (answer === undefined) known.set(dtype, (answer = tries(dtype)));
  return answer;
}
function tries(dtype: Sixteen): boolean {
  try {
    autocast({ deviceType: "cpu", dtype }, () =>
      enableGrad(() =>
        scope(() => {
          const one = (...shape: number[]): Tensor => ones(shape, { dtype: "float32", requiresGrad: true });
          const weights = [one(4, 1), one(4, 1), one(4), one(4)];
          const [output] = lstm(one(1, 1, 1), [one(1, 1, 1), one(1, 1, 1)], weights, true, 1, 0, true, false, false);
          output.sum().backward();
        }),
      ),
    );
    return true;
  } catch (error) {
    if (error instanceof TorchError) return false;
    throw error;
  }
}

/** The dtype of the region, where an LSTM over `input` cannot run in it; null: it can. */
function instead(input: Tensor): Sixteen | null {
  if (input.device.type !== "cpu" || input.dtype !== "float32" || !isAutocastEnabled("cpu")) return null;
  const dtype = getAutocastDtype("cpu");
  return (dtype === "float16" || dtype === "bfloat16") && !runs(dtype) ? dtype : null;
}

type Compute = (
  input: Tensor,
  states: readonly Tensor[],
  weights: readonly Tensor[],
) => readonly [Tensor, Tensor, Tensor];
type Run = (...given: [...Parameters<Compute>, compute: Compute]) => ReturnType<Compute>;

/** Results of an LSTM that takes tensors as they are given. */
export const directly: Run = (input, states, weights, compute) => compute(input, states, weights);

/** Results of an LSTM that takes tensors as they are given, or in float32 where it has to. */
export const withFallback: Run = (input, states, weights, compute) => {
  const dtype = instead(input);
  if (dtype === null) return compute(input, states, weights);
  return autocast({ deviceType: "cpu", enabled: false }, () => {
    const [output, h, c] = compute(input, states.map(toFloat), weights.map(toFloat));
    return [output.to(dtype), h.to(dtype), c.to(dtype)];
  });
};
const toFloat = (t: Tensor): Tensor => t.float();
