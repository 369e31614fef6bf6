/** As in torch.utils.checkpoint. */
export { checkpoint, checkpointSequential } from "../autograd/checkpoint.js";
