/** How to call nn.utils. */
import { nn, ones } from "@nbit/torch";

interface Row {
  readonly args: readonly unknown[];
}
const x = ones([2, 2]);
const leaf = ones([1], { requiresGrad: true });
const row = (...args: readonly unknown[]): Row => ({ args });
const { parametrizations, prune } = nn.utils;
const rows = (before: string, made: Readonly<Record<string, () => Row>>): Readonly<Record<string, () => Row>> =>
  Object.fromEntries(Object.entries(made).map(([name, make]) => [`torch.nn.utils.${before}${name}`, make]));
const layer = (): nn.Linear => new nn.Linear(2, 2);

export const UTILS: Readonly<Record<string, () => Row>> = {
  ...rows("", {
    clipGradNorm: () => row([leaf], 1),
    clipGradValue_: () => row([leaf], 1),
    clipGradsWithNorm_: () => row([leaf], 1, x.sum()),
    convertConv2dWeightMemoryFormat: () => row(layer(), "channelsLast"),
    convertConv3dWeightMemoryFormat: () => row(layer(), "channelsLast3d"),
    fuseConvBnEval: () => row(new nn.Conv1d(2, 2, 1).eval(), new nn.BatchNorm1d(2).eval()),
    fuseConvBnWeights: () => row(x, null, leaf, leaf, 0.1, null, null),
    fuseLinearBnEval: () => row(layer().eval(), new nn.BatchNorm1d(2).eval()),
    fuseLinearBnWeights: () => row(x, null, leaf, leaf, 0.1, null, null),
    skipInit: () => row(nn.Linear, 2, 2),
    getTotalNorm: () => row([leaf]),
    vectorToParameters: () => row(x, [leaf]),
    spectralNorm: () => row(layer()),
    removeSpectralNorm: () => row(nn.utils.spectralNorm(layer())),
    weightNorm: () => row(layer()),
    removeWeightNorm: () => row(nn.utils.weightNorm(layer())),
  }),
  "torch.func.functionalCall": () => row(layer(), {}, [x]),
  ...rows("parametrizations.", {
    orthogonal: () => row(layer()),
    spectralNorm: () => row(layer()),
    weightNorm: () => row(layer()),
  }),
  ...rows("parametrize.", {
    isParametrized: () => row(layer()),
    registerParametrization: () => row(layer(), "weight", new nn.Identity()),
    removeParametrizations: () => row(parametrizations.weightNorm(layer()), "weight"),
    transferParametrizationsAndParams: () => row(parametrizations.weightNorm(layer()), layer()),
    Parametrizations: () => row(),
    ParametrizationList: () => row([new nn.Identity()], x),
  }),
  ...rows("prune.", {
    "BasePruningMethod.apply": () => row(layer(), "weight"),
    CustomFromMask: () => row(x),
    L1Unstructured: () => row(1),
    LnStructured: () => row(1, 2),
    PruningContainer: () => row(),
    RandomStructured: () => row(1),
    RandomUnstructured: () => row(1),
    customFromMask: () => row(layer(), "weight", x),
    globalUnstructured: () => row([[layer(), "weight"]], prune.L1Unstructured),
    identity: () => row(layer(), "weight"),
    l1Unstructured: () => row(layer(), "weight", 1),
    lnStructured: () => row(layer(), "weight", 1, 2),
    randomStructured: () => row(layer(), "weight", 1),
    randomUnstructured: () => row(layer(), "weight", 1),
    remove: () => row(prune.identity(layer(), "weight"), "weight"),
  }),
};

/** They count their arguments. */
export const PLAIN_UTILS: readonly string[] = (
  "parametersToVector parametrize.ParametrizationList#originals parametrize.ParametrizationList#forward parametrize.ParametrizationList#rightInverse " +
  "parametrize.Parametrizations#stateKey parametrize.Parametrizations#has parametrize.Parametrizations#get parametrize.cached parametrize.typeBeforeParametrizations prune.BasePruningMethod " +
  "prune.BasePruningMethod#remove prune.BasePruningMethod#prune prune.BasePruningMethod#applyMask prune.CustomFromMask#computeMask prune.Identity " +
  "prune.Identity#computeMask prune.L1Unstructured#computeMask prune.LnStructured#computeMask prune.PruningContainer#addPruningMethod prune.PruningContainer#at " +
  "prune.PruningContainer#computeMask prune.RandomStructured#computeMask prune.RandomUnstructured#computeMask prune.isPruned"
)
  .split(" ")
  .map((name) => `torch.nn.utils.${name}`)
  .concat("torch.func.stackModuleState");
