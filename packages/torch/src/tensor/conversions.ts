/** `to` and its shorthands: written by hand because PyTorch's argument parser treats them apart. */
import { ArgumentError } from "../errors.js";
import { invoke, Operator } from "../ops/invoke.js";
import { Device, device, isDeviceName, type DeviceLike } from "./device.js";
import { dtypeMeant, isDType, type DType } from "./dtype.js";
import { isTensor } from "./handle.js";
import { Tensor } from "./tensor.js";

export interface ToOptions {
  readonly dtype?: DType | undefined;
  readonly device?: DeviceLike | undefined;
  /** Ask for a copy even when nothing would change. */
  readonly copy?: boolean | undefined;
  /** From pinned memory to a GPU: do not wait. */
  readonly nonBlocking?: boolean | undefined;
  readonly memoryFormat?: "contiguousFormat" | "preserveFormat" | "channelsLast" | "channelsLast3d" | undefined;
}

export interface Conversions {
  /**
   * The same values in another dtype, on another device, or both. The tensor itself when nothing changes (unless `copy`).
   * @example x.to("bfloat16"); x.to("cuda:0"); x.to({ dtype: "float16", device: "cuda", nonBlocking: true }); x.to(other)
   */
  to(target: DType | DeviceLike | ToOptions | Tensor): Tensor;
  type(dtype: DType): Tensor;
  cpu(): Tensor;
  cuda(index?: number): Tensor;
  float(): Tensor;
  double(): Tensor;
  half(): Tensor;
  bfloat16(): Tensor;
  long(): Tensor;
  int(): Tensor;
  short(): Tensor;
  char(): Tensor;
  byte(): Tensor;
  bool(): Tensor;
}

const copy = new Operator("aten::_to_copy", "");

function to(self: Tensor, options: ToOptions): Tensor {
  const dtype = options.dtype ?? undefined;
  if (dtype !== undefined && !isDType(dtype)) throw new ArgumentError("to", "a dtype, a device or options", dtype, dtypeMeant(dtype));
  const target = options.device === undefined ? undefined : device(options.device, "to");
  const here = self.device;
  const sameDevice = target === undefined || target === here || (target.type === here.type && target.index === null);
  const format = options.memoryFormat;
  if (options.copy !== true && format === undefined && sameDevice && (dtype === undefined || dtype === self.dtype)) return self;
  return invoke(copy, [self, { dtype, device: sameDevice ? undefined : target, nonBlocking: options.nonBlocking ?? false, memoryFormat: format }]) as Tensor;
}

const methods: Conversions & ThisType<Tensor> = {
  to(target) {
    if (isTensor(target)) return to(this, { dtype: target.dtype, device: target.device });
    if (isDType(target)) return to(this, { dtype: target });
    // "half" is no device, but nearly a dtype.
    if (typeof target === "string" && !isDeviceName(target) && dtypeMeant(target) !== "") throw new ArgumentError("to", "a dtype, a device, options or a tensor", target, dtypeMeant(target));
    if (typeof target === "string" || target instanceof Device) return to(this, { device: target });
    if (typeof target !== "object" || target === null) throw new ArgumentError("to", "a dtype, a device, options or a tensor", target);
    return to(this, target);
  },
  type(dtype) {
    return to(this, { dtype });
  },
  cpu() {
    return to(this, { device: "cpu" });
  },
  cuda(index) {
    return to(this, { device: index === undefined ? "cuda" : `cuda:${index}` });
  },
  float() {
    return to(this, { dtype: "float32" });
  },
  double() {
    return to(this, { dtype: "float64" });
  },
  half() {
    return to(this, { dtype: "float16" });
  },
  bfloat16() {
    return to(this, { dtype: "bfloat16" });
  },
  long() {
    return to(this, { dtype: "int64" });
  },
  int() {
    return to(this, { dtype: "int32" });
  },
  short() {
    return to(this, { dtype: "int16" });
  },
  char() {
    return to(this, { dtype: "int8" });
  },
  byte() {
    return to(this, { dtype: "uint8" });
  },
  bool() {
    return to(this, { dtype: "bool" });
  },
};

/** @internal */
export function attachConversions(): void {
  for (const [name, value] of Object.entries(methods)) Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
}
