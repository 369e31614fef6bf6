import { cpuCapability, device, isMkldnnBf16Supported, isMkldnnFp16Supported } from "@nbit/torch";
import type { Accelerator, DeviceSupport } from "./accelerator.js";

/** The processor. Always there; `devices` counts processes. */
export class CPUAccelerator implements Accelerator {
  readonly name = "cpu";
  readonly isShared = true;

  missing(): null {
    return null;
  }

  deviceCount(): number {
    return 1;
  }

  device(): ReturnType<typeof device> {
    return device("cpu");
  }

  /** oneDNN decides which 16-bit matrix kernels run natively. */
  support(): DeviceSupport {
    const bfloat16 = isMkldnnBf16Supported();
    const float16 = isMkldnnFp16Supported();
    const native = [bfloat16 ? "native bfloat16" : null, float16 ? "native float16" : null].filter((s) => s !== null);
    return {
      float16,
      bfloat16,
      float8: false,
      description: [cpuCapability(), ...(native.length > 0 ? native : ["no native 16-bit arithmetic"])].join(", "),
    };
  }
}
