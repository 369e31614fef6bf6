import { cuda, cudaAvailable, cudaDeviceCount, device } from "@nbit/torch";
import type { Device } from "@nbit/torch";
import type { Accelerator, DeviceSupport } from "./accelerator.js";

/** Compute capability of a device, such as [9, 0]. */
export type CapabilityOf = (index: number) => readonly [major: number, minor: number];

/** NVIDIA GPUs. */
export class CUDAAccelerator implements Accelerator {
  readonly name = "cuda";

  constructor(
    readonly capabilityOf: CapabilityOf = (index) => cuda.getDeviceCapability(index),
    readonly nameOf: (index: number) => string = (index) =>
      cuda.isAvailable() ? cuda.getDeviceProperties(index).name : "CUDA device",
  ) {}

  missing(): string | null {
    if (!cudaAvailable())
      return 'a libtorch that was built with CUDA; this one is for CPUs. Point LIBTORCH at a CUDA build, or use accelerator: "cpu"';
    if (cudaDeviceCount() === 0)
      return 'a CUDA device; the driver shows none. Check nvidia-smi and CUDA_VISIBLE_DEVICES, or use accelerator: "cpu"';
    return null;
  }

  deviceCount(): number {
    return cudaAvailable() ? cudaDeviceCount() : 0;
  }

  device(index: number): Device {
    return device(`cuda:${index}`);
  }

  /**
   * Workspaces of libraries, and memory that no tensor holds, go back to the driver: other programs may need them.
   * Waits for the devices.
   */
  teardown(): void {
    cuda.clearCublasWorkspaces();
    cuda.emptyCache();
  }

  /** float16 tensor cores from 7.0, bfloat16 from 8.0 (below, libtorch emulates it), float8 from 8.9. */
  support(index: number): DeviceSupport {
    const [major, minor] = this.capabilityOf(index);
    const value = major * 10 + minor;
    return {
      float16: value >= 70,
      bfloat16: value >= 80,
      float8: value >= 89,
      description: `${this.nameOf(index)}, compute capability ${major}.${minor}`,
    };
  }
}
