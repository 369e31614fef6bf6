import { CUDAAccelerator } from "@nbit/lightning";
import { device, type Device } from "@nbit/torch";

/** A GPU that is not there, for what depends on its compute capability alone: tensors lie on the CPU. */
export class PretendedGPU extends CUDAAccelerator {
  override missing(): null {
    return null;
  }
  override deviceCount(): number {
    return 1;
  }
  override device(): Device {
    return device("cpu");
  }
}
