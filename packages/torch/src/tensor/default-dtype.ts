/** The dtype that new tensors have. */
import { ArgumentError } from "../errors.js";
import { addForwardRegion } from "../forward-regions.js";
import { native } from "../native.js";
import { atMost } from "../options.js";
import { dtypeCode, dtypeName, isFloatingPoint, type DType } from "./dtype.js";

/**
 * The dtype of tensors made from JavaScript numbers and by factories without a dtype: float32 unless changed, by any
 * thread.
 */
export function getDefaultDtype(): DType {
  atMost("getDefaultDtype", arguments, 0);
  return dtypeName(native.getDefaultDtype());
}
/** @throws {ArgumentError} `setDefaultDtype: expected dtype to be a floating point dtype. Received: "int64".` */
export function setDefaultDtype(dtype: DType): void {
  atMost("setDefaultDtype", arguments, 1);
  if (!isFloatingPoint(dtype)) throw new ArgumentError("setDefaultDtype", "dtype to be a floating point dtype", dtype);
  native.setDefaultDtype(dtypeCode(dtype, "setDefaultDtype"));
}

addForwardRegion(() => {
  const dtype = getDefaultDtype();
  return (fn) => {
    const before = getDefaultDtype();
    setDefaultDtype(dtype);
    try {
      return fn();
    } finally {
      setDefaultDtype(before);
    }
  };
});
