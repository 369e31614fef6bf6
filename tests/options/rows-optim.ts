/** How to call what optimizers, schedulers and averages of models have: `Row`s of rows.ts. */
import { nn, ones, optim } from "@nbit/torch";

interface Row {
  readonly args: readonly unknown[];
  readonly self?: object;
}
const leaf = ones([1], { requiresGrad: true });
const matrix = ones([2, 2], { requiresGrad: true });
const sgd = (): optim.Optimizer => new optim.SGD([new nn.Parameter(ones([1]))], { lr: 0.1 });
const noop = (): void => undefined;

const OF_LEAF =
  "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS NAdam RAdam RMSprop Rprop SGD SparseAdam".split(" ");
const HOOKS = ["registerStateDictPreHook", "registerStateDictPostHook"].concat(
  "registerLoadStateDictPreHook registerLoadStateDictPostHook".split(" "),
);

const SCHEDULERS = (
  "ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LambdaLR LinearLR MultiStepLR MultiplicativeLR OneCycleLR PolynomialLR " +
  "ReduceLROnPlateau SequentialLR StepLR"
).split(" ");

export const OPTIM_ROWS: Readonly<Record<string, () => Row>> = {
  ...Object.fromEntries(OF_LEAF.map((name) => [`torch.optim.${name}`, () => ({ args: [[leaf]] })])),
  "torch.optim.Muon": () => ({ args: [[matrix]] }),
  ...Object.fromEntries(HOOKS.map((name) => [`torch.optim.Optimizer#${name}`, () => ({ args: [noop], self: sgd() })])),
  "torch.optim.Optimizer#step": () => ({ args: [], self: sgd() }),
  "torch.optim.Optimizer#zeroGrad": () => ({ args: [], self: sgd() }),
  "torch.optim.Adafactor#expectedStateBytes": () => ({ args: [leaf], self: new optim.Adafactor([leaf]) }),
  ...Object.fromEntries(SCHEDULERS.map((name) => [`torch.optim.${name}`, () => ({ args: [sgd()] })])),
  "torch.optim.ChainedScheduler": () => ({ args: [[new optim.StepLR(sgd(), 1)]] }),
  "torch.optim.swaUtils.AveragedModel": () => ({ args: [new nn.Linear(1, 1)] }),
  "torch.optim.swaUtils.AveragedModel#updateParameters": () => ({
    args: [],
    self: new optim.swaUtils.AveragedModel(new nn.Linear(1, 1)),
  }),
  "torch.optim.swaUtils.getEmaAvgFn": () => ({ args: [] }),
  "torch.optim.swaUtils.getEmaMultiAvgFn": () => ({ args: [] }),
  "torch.optim.swaUtils.updateBn": () => ({ args: [[], new nn.Linear(1, 1)] }),
  "torch.optim.swaUtils.SWALR": () => ({ args: [sgd()] }),
};
