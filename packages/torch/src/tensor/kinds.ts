/** Kinds of values that only this library has: tensors, dtypes, devices. */
import { such, type Kind } from "../kinds.js";
import { device, isDevice as isDeviceObject, type DeviceLike } from "./device.js";
import { dtypeMeant, isDType, type DType } from "./dtype.js";
import { isTensor } from "./handle.js";
import type { Tensor } from "./tensor.js";

/** A tensor, disposed or not. */
export const tensorKind: Kind<Tensor> = such("a tensor", (v) => isTensor(v));
export const dtypeKind: Kind<DType> = { ...such('a dtype such as "float32"', isDType), meant: dtypeMeant };
export const deviceKind: Kind<DeviceLike> = such(
  'a device such as "cpu", "cuda" or "cuda:0"',
  (v) => isDeviceObject(v) || (typeof v === "string" && isDevice(v)),
);

function isDevice(name: string): boolean {
  try {
    device(name);
    return true;
  } catch {
    return false;
  }
}
