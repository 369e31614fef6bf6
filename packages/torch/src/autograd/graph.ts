/** As in torch.autograd.graph. */
export { saveOnCpu, savedTensorsHooks } from "./saved-tensors.js";
