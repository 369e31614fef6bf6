/** PyTorch's `torch.optim.swa_utils`: averages of weights. */
export { AveragedModel, type AveragedModelArguments } from "./averaged-model.js";
export {
  getEmaAvgFn,
  getEmaMultiAvgFn,
  getSwaAvgFn,
  getSwaMultiAvgFn,
  type AvgFn,
  type EmaOptions,
  type MultiAvgFn,
} from "./averages.js";
export { updateBn, type UpdateBnArguments } from "./update-bn.js";
export { SWALR, type SWALRArguments } from "../lr/swa-lr.js";
