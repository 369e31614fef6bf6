import { ArgumentError, atMost, checkArguments, kinds, nn, Tensor, utils } from "@nbit/torch";

/**
 * Count the FLOPs of a forward and, with `lossFn`, of the backward of its loss: products, convolutions and attention, by
 * PyTorch's formulas. A model on the device "meta" is counted without being computed.
 *
 * @param model - For whom to read: what counts is what `forwardFn` does.
 * @param lossFn - The loss of what `forwardFn` returned.
 * @example
 * const forward = measureFlops(model, () => model.forward(x));
 * const step = measureFlops(model, () => model.forward(x), (y) => y.sum());
 */
export function measureFlops<T>(model: nn.Module, forwardFn: () => T, lossFn?: (output: T) => Tensor): number {
  atMost("measureFlops", arguments, 3);
  checkArguments(
    "measureFlops",
    { model, forwardFn },
    { model: kinds.instanceOf("a module", nn.Module), forwardFn: kinds.callable },
  );
  if (lossFn !== undefined) checkArguments("measureFlops", { lossFn }, { lossFn: kinds.callable });
  const counter = new utils.flopCounter.FlopCounterMode({ display: false });
  counter.run(() => {
    const output = forwardFn();
    if (lossFn === undefined) return;
    const loss: unknown = lossFn(output);
    if (!(loss instanceof Tensor)) throw new ArgumentError("measureFlops", "lossFn to return a tensor", loss);
    loss.backward();
  });
  return counter.getTotalFlops();
}
