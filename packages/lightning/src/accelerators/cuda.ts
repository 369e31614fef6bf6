import { cudaAvailable, cudaDeviceCount, device } from "@nbit/torch";
import type { Device } from "@nbit/torch";
import type { Accelerator, DeviceSupport } from "./accelerator.js";

/** Compute capability of a device, such as `{ major: 9, minor: 0 }`; null where it cannot be told. */
export type CapabilityOf = (index: number) => { readonly major: number; readonly minor: number } | null;

/** NVIDIA GPUs. */
export class CUDAAccelerator implements Accelerator {
  readonly name = "cuda";

  constructor(readonly capabilityOf: CapabilityOf = () => null) {}

  missing(): string | null {
    if (!cudaAvailable()) return "a libtorch that was built with CUDA; this one is for CPUs. Point LIBTORCH at a CUDA build, or use accelerator: \"cpu\"";
    if (cudaDeviceCount() === 0) return "a CUDA device; the driver shows none. Check nvidia-smi and CUDA_VISIBLE_DEVICES, or use accelerator: \"cpu\"";
    return null;
  }

  deviceCount(): number {
    return cudaAvailable() ? cudaDeviceCount() : 0;
  }

  device(index: number): Device {
    return device(`cuda:${index}`);
  }

  /** float16 tensor cores from 7.0, bfloat16 from 8.0 (below, libtorch emulates it), float8 from 8.9. An unknown device counts as new. */
  support(index: number): DeviceSupport {
    const capability = this.capabilityOf(index);
    if (capability === null) return { float16: true, bfloat16: true, float8: false, description: "CUDA device" };
    const value = capability.major * 10 + capability.minor;
    return { float16: value >= 70, bfloat16: value >= 80, float8: value >= 89, description: `CUDA device of compute capability ${capability.major}.${capability.minor}` };
  }
}
