import { device } from "@nbit/torch";
import type { Device } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { PrecisionName } from "../precision/names.js";
import type { Accelerator, DeviceSupport } from "./accelerator.js";

/** Tensor processing units, through an XLA backend of libtorch. bfloat16 is their only 16-bit type. */
export class TPUAccelerator implements Accelerator {
  readonly name = "tpu";

  missing(): string {
    return "an XLA backend of libtorch (torch_xla), which this build does not have. Train on accelerator: \"cpu\" or \"cuda\", where precision: \"bf16\" computes as a TPU would";
  }

  deviceCount(): number {
    return 0;
  }

  device(index: number): Device {
    return device(`xla:${index}`);
  }

  support(): DeviceSupport {
    return { float16: false, bfloat16: true, float8: false, description: "TPU" };
  }

  mapPrecision(name: PrecisionName): { name: PrecisionName; warning?: string } {
    switch (name) {
      case "16-mixed":
        return { name: "bf16-mixed", warning: 'precision: 16 on a TPU runs bfloat16, its only 16-bit type. Write precision: "bf16" to say so.' };
      case "16-true":
        return { name: "bf16-true", warning: 'precision: "16-true" on a TPU runs bfloat16, its only 16-bit type. Write precision: "bf16-true" to say so.' };
      case "64-true":
        throw new MisconfigurationError("Trainer", "precision 32, 16 or \"bf16\" on a TPU", 64, "TPUs do not compute in float64; use accelerator: \"cpu\" for it.", "ERR_PRECISION_TPU_DOUBLE");
      default:
        return { name };
    }
  }
}
