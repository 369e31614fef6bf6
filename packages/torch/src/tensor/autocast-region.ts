import { argBuffer, native } from "../native.js";
import { deviceTypeCode } from "./device.js";
import { dtypeName, type DType } from "./dtype.js";

/**
 * The autocast region around a call, in words; null outside of any, or with `dtype` outside of any to that dtype. The
 * answer comes through the buffer of calls: ask when nothing lies there.
 */
export function autocastRegion(dtype?: DType): string | null {
  for (const type of ["cpu", "cuda"]) {
    native.autocastGet(deviceTypeCode(type));
    if (argBuffer[0] !== 1) continue;
    const to = dtypeName(argBuffer[1] as number);
    if (dtype === undefined || to === dtype) return `autocast of ${type} to ${to}`;
  }
  return null;
}
