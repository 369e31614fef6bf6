/** The CUDA part of the addon, or a clear error where there is none. */
import type { NativeAddon } from "@nbit/native";
import { NbitError } from "../errors.js";
import { info, native } from "../native.js";

type CudaName = Extract<keyof NativeAddon, `${"cuda" | "stream" | "event" | "graph"}${string}`>;
type CudaFunction<K extends CudaName> = NonNullable<NativeAddon[K]>;

/** @internal A function of the CUDA part. @throws {NbitError} `CUDA_UNAVAILABLE` with what is missing. */
export function cudaFunction<K extends CudaName>(name: K, api: string): CudaFunction<K> {
  const found = native[name];
  if (found === undefined)
    throw new NbitError(
      `${api}: expected a libtorch built with CUDA. Received: libtorch ${info.version} for the CPU. Install a CUDA build of PyTorch and run \`npx nbit setup\`.`,
      "CUDA_UNAVAILABLE",
    );
  if (!info.cuda)
    throw new NbitError(
      `${api}: expected a CUDA device. Received: none that libtorch ${info.version} can use. \`npx nbit doctor\` shows the driver and the devices.`,
      "CUDA_UNAVAILABLE",
    );
  return found as CudaFunction<K>;
}
