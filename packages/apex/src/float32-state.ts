/** The state dict of a 16-bit model is float32: from the masters, so that nothing is lost, and back into them. */
import { type DType, nn, noGrad, type Tensor } from "@nbit/torch";
import { isMap } from "@nbit/torch/realm";
import type { MasterWeights } from "./master-weights.js";
import type { Originals } from "./originals.js";

export interface Float32State {
  readonly weights: MasterWeights;
  /** Of parameters without a master. */
  readonly originals: Originals;
  /** What the model was cast to. */
  readonly castTo: DType | null;
}

/** Replace a model's `stateDict` and `loadStateDict` on the instance. Returns what undoes it. */
export function exchangeFloat32(model: nn.Module, { weights, originals, castTo }: Float32State): (() => void)[] {
  const { stateDict, loadStateDict } = nn.Module.prototype;
  const masterOf = (): Map<Tensor, Tensor> =>
    new Map([
      ...originals.unchanged(),
      ...weights.withMaster.map(({ parameter, master }) => [parameter, master] as const),
    ]);
  const float32 = (t: Tensor): Tensor => (t.dtype === castTo ? t.detach().to("float32") : t);

  const save = (): nn.StateDict => {
    const masters = masterOf();
    return new Map(
      [...stateDict.call(model, { keepVars: true })].map(([name, t]) => [name, masters.get(t) ?? float32(t)]),
    );
  };
  const load = (...args: Parameters<typeof loadStateDict>): ReturnType<typeof loadStateDict> => {
    const result = loadStateDict.apply(model, args);
    const given = isMap(args[0]) ? (args[0] as ReadonlyMap<string, Tensor>) : new Map(Object.entries(args[0]));
    const masters = masterOf();
    noGrad(() => {
      for (const [name, t] of stateDict.call(model, { keepVars: true })) {
        const master = masters.get(t) ?? originals.get(t);
        if (master === undefined || master === t) continue;
        const source = given.get(name);
        if (source !== undefined) master.copy_(source);
        // Loaded under a name of earlier versions.
        else if (!master.to(t.dtype).equal(t.detach())) master.copy_(t.detach());
      }
    });
    return result;
  };

  return Object.entries({ stateDict: save, loadStateDict: load }).map(([name, value]) => {
    Object.defineProperty(model, name, { configurable: true, writable: true, enumerable: false, value });
    return () => void Reflect.deleteProperty(model, name);
  });
}
